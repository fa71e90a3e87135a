"""The page: Gradio components around an analysis. Nothing of it leaves the machine."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastconv._types import PathLike, TensorLike
    from fastconv.layers import Layer

_TOP = 5
_LIKELIEST = "the most likely class"
_LAST = "the last convolution"
# The browser itself refuses whatever a page of Gradio may want from elsewhere.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' data: blob:"
)


def build_page(analysis: Any, read_image: Callable[..., Any], title: str) -> Any:
    """Return the page as `gradio.Blocks`.

    Args:
        analysis: a `ModelAnalysis` or a `GraphAnalysis`.
        read_image: path of an image -> (batch of one for the analysis, uint8 (H, W) or (H, W, 3) to
            show).
        title: heading of the page.

    Raises:
        ImportError: Gradio is not installed.
    """
    gr = _gradio()

    def told(function: Callable[..., Any]) -> Any:
        """Gradio shows the messages of its own errors only."""

        def call(*arguments: Any) -> TensorLike:
            try:
                return function(*arguments)
            except (ValueError, TypeError, OSError, ImportError) as error:
                raise gr.Error(str(error)) from error

        return call

    @told
    def predict(path: PathLike) -> Any:
        if path is None:
            return None, None
        batch, _ = read_image(path)
        rows = [
            [t.name, t.operator, " x ".join(map(str, t.shape)), f"{t.milliseconds:.4f}"]
            + [f"{100 * t.share:.1f} %"]
            for t in analysis.times(batch)
        ]
        return analysis.prediction(batch), rows

    @told
    def draw_maps(path: PathLike, layer: Layer) -> Any:
        if path is None:
            return None
        return analysis.feature_maps(read_image(path)[0], layer)

    @told
    def draw_cam(path: PathLike, class_name: str, layer: str) -> Any:
        if path is None:
            return None
        batch, picture = read_image(path)
        name = None if class_name == _LIKELIEST else class_name
        return analysis.grad_cam(batch, picture, name, None if layer == _LAST else layer)

    # One at a time: they would only slow each other down.
    limits = {"concurrency_id": "model", "concurrency_limit": 1, "api_visibility": "private"}
    # Without Gradio's button that shares a picture on the web.
    pictures = {"format": "png", "interactive": False, "buttons": ["download", "fullscreen"]}
    # Uploaded images are deleted after an hour, and when the page closes.
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown(f"# {title}")
        with gr.Row():
            image = gr.Image(
                sources=["upload", "clipboard"],
                label="Image",
                height=320,
                buttons=["fullscreen"],
            )
            # The file as it came: Gradio's own message about one that is no image tells nobody.
            image.preprocess = lambda file: None if file is None else file.path
            label = gr.Label(num_top_classes=_TOP, label="Prediction")
        has_maps, has_cam = bool(analysis.map_layers), bool(analysis.cam_layers)
        if has_maps:
            layers = list(analysis.map_layers)
            with gr.Row():
                with gr.Column():
                    layer = gr.Dropdown(layers, value=analysis.shown_layer, label="Layer")
                    maps = gr.Image(label="Feature maps", **pictures)
                if has_cam:
                    with gr.Column():
                        with gr.Row():
                            names = [_LIKELIEST, *analysis.class_names]
                            chosen = gr.Dropdown(names, value=_LIKELIEST, label="Class")
                            cam_layers = [_LAST, *analysis.cam_layers]
                            cam_layer = gr.Dropdown(cam_layers, value=_LAST, label="Layer")
                        cam = gr.Image(label="Grad-CAM", **pictures)
        times = gr.Dataframe(
            headers=["layer" if has_maps else "step", "operator", "output", "ms", "share"],
            label="Time a layer" if has_maps else "Time a step",
            interactive=False,
        )
        # In a chain, so that what is wrong with an image is told once.
        done = image.change(predict, image, [label, times], **limits)
        if has_maps:
            for event in (done.success, layer.change):
                event(draw_maps, [image, layer], maps, **limits)
        if has_cam:
            for event in (done.success, chosen.change, cam_layer.change):
                event(draw_cam, [image, chosen, cam_layer], cam, **limits)
    return page


def launch(
    page: Any, host: str = "127.0.0.1", port: int | None = None, browser: bool = True
) -> str:
    """Serve the page in threads of their own until `page.close()`, and return its address.

    Args:
        page: made by `build_page`.
        host: address to listen at; "0.0.0.0" lets other machines in.
        port: None: the first free one from 7860 on.
        browser: whether to open the page in a browser.

    Raises:
        OSError: the port is taken, or there is no such address here.
    """
    from starlette.middleware import Middleware

    # Before Gradio does, which would try again and again and tell of it in many lines.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port or 0))
    except OSError as error:
        where = host if port is None else f"{host}, port {port}"
        raise OSError(f"cannot listen at {where}: {error.strerror}") from error
    launched: tuple[Any, str, str] = page.launch(
        server_name=host,
        server_port=port,
        inbrowser=browser,
        share=False,
        ssr_mode=False,
        mcp_server=False,
        run_history=False,
        footer_links=[],
        quiet=True,
        show_error=True,
        prevent_thread_lock=True,
        app_kwargs={"middleware": [Middleware(_ContentPolicy)]},
    )
    return launched[1]


class _ContentPolicy:
    """Adds the header that keeps the browser on this server."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                header = (b"content-security-policy", _POLICY.encode())
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        await self.app(scope, receive, sent)


def _gradio() -> Any:
    try:
        import gradio
    except ImportError as error:
        raise ImportError("the explorer needs gradio: pip install 'fastconv[explore]'") from error
    return gradio
