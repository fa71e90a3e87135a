"""A headless browser that reaches this machine only."""

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def browser():
    """Chromium, driven by Playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    with api.sync_playwright() as playwright:
        if path is None and not os.path.exists(playwright.chromium.executable_path):
            pytest.skip("needs chromium")
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser):
    """open_page(address) -> (page, list of addresses outside that it asked for, its errors)."""
    contexts = []

    def open_(address):
        context = browser.new_context(viewport={"width": 1100, "height": 1250})
        contexts.append(context)
        outside, errors = [], []

        def route(route):
            if route.request.url.startswith((address, "data:", "blob:")):
                route.continue_()
            else:
                outside.append(route.request.url)
                route.abort()

        context.route("**/*", route)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        return page, outside, errors

    yield open_
    for context in contexts:
        context.close()
