// Python's view of the core: NumPy arrays in and out, and nothing else.
#include <pybind11/critical_section.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

#include "backend/cpu/cpu.hpp"
#include "backend/cpu/indexing.hpp"
#include "bindings/gil.hpp"
#include "core/cpu.hpp"
#include "core/parallel.hpp"
#include "graph/plan.hpp"

namespace py = pybind11;

namespace fastconv {
namespace {

py::dtype numpy_dtype(DType t) { return py::dtype(name_of(t)); }

py::tuple shape_tuple(const Shape& shape) {
  py::tuple t(shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) t[i] = shape[i];
  return t;
}

DType dtype_of(const py::array& a) {
  const py::dtype d = a.dtype();
  if (d.byteorder() == '=' || d.byteorder() == '|') {
    const bool floating = d.kind() == 'f', is_signed = d.kind() == 'i', is_unsigned = d.kind() == 'u';
    switch (d.itemsize()) {
      case 1:
        if (d.kind() == 'b') return DType::b8;
        if (is_signed) return DType::i8;
        if (is_unsigned) return DType::u8;
        break;
      case 2:
        if (is_signed) return DType::i16;
        if (is_unsigned) return DType::u16;
        break;
      case 4:
        if (floating) return DType::f32;
        if (is_signed) return DType::i32;
        if (is_unsigned) return DType::u32;
        break;
      case 8:
        if (floating) return DType::f64;
        if (is_signed) return DType::i64;
        if (is_unsigned) return DType::u64;
        break;
      default: break;
    }
  }
  throw py::type_error("dtype " + py::str(d).cast<std::string>() + " is not supported; expected " + dtype_names());
}

Shape shape_of(const py::array& a) { return Shape(a.shape(), a.shape() + a.ndim()); }

// C order, aligned; a copy only where the array is not so already.
py::array dense(const py::array& a) {
  py::array out = py::array::ensure(a, py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_);
  if (!out) throw py::error_already_set();
  return out;
}

Attr to_attr_or_throw(const py::handle& v) {
  if (py::isinstance<py::bool_>(v)) return v.cast<bool>();
  if (py::isinstance<py::int_>(v)) return v.cast<std::int64_t>();
  if (py::isinstance<py::float_>(v)) return v.cast<double>();
  if (py::isinstance<py::str>(v)) return v.cast<std::string>();
  if (PyIndex_Check(v.ptr())) {
    if (auto index = py::reinterpret_steal<py::object>(PyNumber_Index(v.ptr()))) return index.cast<std::int64_t>();
    PyErr_Clear();  // an array of more than one number
  }
  if (py::isinstance<py::sequence>(v)) {
    bool real = false;
    for (auto e : py::reinterpret_borrow<py::sequence>(v)) real = real || py::isinstance<py::float_>(e);
    if (real) return v.cast<std::vector<double>>();
    return v.cast<Ints>();
  }
  if (PyNumber_Check(v.ptr())) return py::float_(py::reinterpret_borrow<py::object>(v)).cast<double>();
  throw py::cast_error();
}

Attr to_attr(const std::string& key, const py::handle& v) {
  try {
    return to_attr_or_throw(v);
  } catch (const py::cast_error&) {  // another type, or an integer past 64 bits
    throw Error("attribute " + key + ": " + py::repr(v).cast<std::string>() +
                " is not a boolean, 64-bit integer, number, string or list of such numbers");
  }
}

Attrs to_attrs(const py::dict& dict) {
  const py::scoped_critical_section section(dict);  // no other thread changes it between two of its items
  Attrs attrs;
  for (auto item : dict) {
    const std::string key = item.first.cast<std::string>();
    attrs.set(key, to_attr(key, item.second));
  }
  return attrs;
}

std::vector<int> to_ids(const std::vector<std::optional<int>>& ids) {
  std::vector<int> out;
  for (const auto& id : ids) out.push_back(id.value_or(kNone));
  return out;
}

std::vector<std::optional<int>> from_ids(const std::vector<int>& ids) {
  std::vector<std::optional<int>> out;
  for (int id : ids) out.push_back(id == kNone ? std::nullopt : std::optional<int>(id));
  return out;
}

// A graph that threads may call at once where Python has no GIL. No Python code runs while its lock is held: whoever
// waits for it keeps the interpreter from pausing its threads.
class PyGraph {
 public:
  template <class F>
  auto locked(F&& f) {
    std::lock_guard<std::mutex> lock(mutex_);
    return f(graph_);
  }

 private:
  Graph graph_;
  std::mutex mutex_;
};

class PyPlan {
 public:
  PyPlan(PyGraph& graph, const std::vector<int>& outputs, std::shared_ptr<PackStore> store, bool strict, bool any_size,
         std::map<std::string, std::string> algorithms, bool recompute)
      : plan_(graph.locked([&](Graph& g) {
          return Plan(g, outputs, cpu::backend(), std::move(store),
                      PlanOptions{strict, any_size, recompute, std::move(algorithms)});
        })) {
    for (std::size_t i = 0; i < plan_.input_types().size(); ++i) {
      names_.push_back(py::str(plan_.input_names()[i]));
      in_types_.push_back(numpy_dtype(plan_.input_types()[i].dtype));
    }
    for (const TensorType& t : plan_.output_types()) out_types_.push_back(numpy_dtype(t.dtype));
  }

  // threads: 0 for num_threads().
  py::list run(const py::sequence& feeds, int threads) {
    Call call(*this, feeds);
    run(call, threads);
    return call.results;
  }

  // The results for a dict of just the arrays that the plan reads, as they are; None for anything else.
  py::object run_exact(const py::handle& feeds, int threads) {
    const std::size_t n = names_.size();
    if (!PyDict_Check(feeds.ptr()) || static_cast<std::size_t>(PyDict_Size(feeds.ptr())) != n) return py::none();
    Call call;
    call.keep.reserve(n);
    call.in.reserve(n);
    {
      const py::scoped_critical_section section(feeds);  // the dict's references are borrowed
      for (std::size_t i = 0; i < n; ++i) {
        PyObject* array = PyDict_GetItemWithError(feeds.ptr(), names_[i].ptr());
        if (!array && PyErr_Occurred()) throw py::error_already_set();
        if (!array || !is_exactly(array, i)) return py::none();
        call.keep.push_back(py::reinterpret_borrow<py::array>(array));
        call.in.push_back(call.keep.back().data());
      }
    }
    call.make_results(*this);
    run(call, threads);
    return std::move(call.results);
  }

  py::list profile(const py::sequence& feeds, int threads) {
    Call call(*this, feeds);
    std::vector<StepReport> report;
    {
      const ReleasedGil released;
      const PinThreads pin(threads > 0 ? threads : num_threads());
      report = plan_.profile(call.in, call.out);
    }
    py::list rows;
    for (const StepReport& s : report) {
      py::dict row;
      row["op"] = s.op;
      row["name"] = s.name;
      row["algorithm"] = s.algorithm;
      row["shape"] = shape_tuple(s.shape);
      row["seconds"] = s.seconds;
      row["flops"] = s.flops;
      row["pieces"] = s.pieces;
      rows.append(row);
    }
    return rows;
  }

  py::list choices() const {
    py::list rows;
    for (Choice& c : plan_.choices()) {
      py::dict row;
      row["step"] = c.step;
      row["problem"] = std::move(c.problem);
      row["algorithm"] = std::move(c.algorithm);
      row["candidates"] = std::move(c.candidates);
      rows.append(row);
    }
    return rows;
  }

  py::dict memory() const {
    const MemoryReport m = plan_.memory();
    py::dict d;
    d["arena"] = m.arena;
    d["live"] = m.live;
    d["scratch"] = m.scratch;
    d["prepared"] = m.prepared;
    return d;
  }

 private:
  // The arrays of one call, kept alive through it.
  struct Call {
    std::vector<py::array> keep;
    std::vector<const void*> in;
    std::vector<void*> out;
    py::list results;

    Call() = default;
    Call(const PyPlan& p, const py::sequence& feeds) {
      const auto& types = p.plan_.input_types();
      if (feeds.size() != types.size())
        throw Error("plan: got " + std::to_string(feeds.size()) + " arrays, expected " + std::to_string(types.size()));
      keep.reserve(types.size());
      for (std::size_t i = 0; i < types.size(); ++i) {
        py::object item = feeds[i];
        if (!py::isinstance<py::array>(item))
          throw py::type_error("plan: input '" + p.plan_.input_names()[i] + "' is not a NumPy array");
        py::array a = py::reinterpret_borrow<py::array>(item);
        if (dtype_of(a) != types[i].dtype || shape_of(a) != types[i].shape)
          throw Error("plan: input '" + p.plan_.input_names()[i] + "' has shape " + to_string(shape_of(a)) +
                      " and dtype " + name_of(dtype_of(a)) + ", expected " + to_string(types[i].shape) + " and " +
                      name_of(types[i].dtype));
        keep.push_back(dense(a));
        in.push_back(keep.back().data());
      }
      make_results(p);
    }

    void make_results(const PyPlan& p) {
      const auto& types = p.plan_.output_types();
      results = py::list(types.size());
      out.reserve(types.size());
      for (std::size_t i = 0; i < types.size(); ++i) {
        py::array a(p.out_types_[i], types[i].shape);
        out.push_back(a.mutable_data());
        PyList_SET_ITEM(results.ptr(), static_cast<Py_ssize_t>(i), a.release().ptr());
      }
    }
  };

  void run(const Call& call, int threads) {
    const ReleasedGil released;
    const PinThreads pin(threads > 0 ? threads : num_threads());
    plan_.run(call.in, call.out);
  }

  // Whether an object is an array (of no subclass) that input i can be read from as it lies.
  bool is_exactly(PyObject* object, std::size_t i) const {
    if (Py_TYPE(object) != py::detail::npy_api::get().PyArray_Type_) return false;
    const auto* array = py::detail::array_proxy(object);
    constexpr int wanted = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
    const Shape& shape = plan_.input_types()[i].shape;
    return array->descr == in_types_[i].ptr() && (array->flags & wanted) == wanted &&
           array->nd == static_cast<int>(shape.size()) && std::equal(shape.begin(), shape.end(), array->dimensions);
  }

  Plan plan_;
  std::vector<py::str> names_;
  std::vector<py::dtype> in_types_, out_types_;
};

VariablePtr make_variable(const py::array& array, const std::string& name) {
  const py::array a = dense(array);
  auto v = std::make_shared<Variable>(TensorType{shape_of(a), dtype_of(a)}, name);
  if (v->type().bytes()) std::memcpy(v->data(), a.data(), v->type().bytes());
  return v;
}

// The variable keeps the array; it may go in any thread, also when the interpreter is gone.
VariablePtr wrap(const py::array& array, const std::string& name, bool mapped) {
  TensorType type{shape_of(array), dtype_of(array)};
  constexpr int wanted = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if ((array.flags() & wanted) != wanted)
    throw Error("Variable.wrap '" + name + "': the array of shape " + to_string(type.shape) +
                " is not C-contiguous and aligned to its elements; expected one that is");
  const void* data = array.data();
  std::shared_ptr<void> owner(py::object(array).release().ptr(), [](void* object) {
    if (!Py_IsInitialized()) return;
    py::gil_scoped_acquire gil;
    Py_DECREF(static_cast<PyObject*>(object));
  });
  return std::make_shared<Variable>(std::move(type), name, data, std::move(owner), mapped);
}

py::array to_array(const Variable& v) {
  py::array a(numpy_dtype(v.type().dtype), v.type().shape);
  if (v.type().bytes()) std::memcpy(a.mutable_data(), v.data(), v.type().bytes());
  return a;
}

void assign(Variable& v, const py::array& array) {
  if (v.read_only()) throw Error("variable '" + v.name() + "' is read-only: it cannot be assigned");
  if (shape_of(array) != v.type().shape || dtype_of(array) != v.type().dtype)
    throw Error("variable '" + v.name() + "': assigned an array of shape " + to_string(shape_of(array)) +
                " and dtype " + name_of(dtype_of(array)) + ", expected " + to_string(v.type().shape) + " and " +
                name_of(v.type().dtype));
  const py::array a = dense(array);
  if (v.type().bytes()) std::memcpy(v.data(), a.data(), v.type().bytes());
  v.touch();
}

// GFLOP/s of one thread; the best of a few short runs.
double fma_peak(double seconds) {
  const ReleasedGil released;
  double best = 0, flops = 0;
  float sum = 0;
  PeakArgs<float> args{1000000, 0.5f, 1.0f, &sum, &flops};
  const auto begin = std::chrono::steady_clock::now();
  do {
    const auto start = std::chrono::steady_clock::now();
    kernels<float>().fma_peak(args);
    best = std::max(best, flops / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  } while (std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() < seconds);
  return best / 1e9;
}

// out[i] = array[rows[i]], into memory that is there: a batch, gathered between two steps of a training.
void take_rows(const py::array& array, const py::array_t<std::int64_t>& rows, py::array& out) {
  const auto dense = [](const py::array& a) { return (a.flags() & py::array::c_style) != 0; };
  const auto same = [&] {
    if (!array.dtype().equal(out.dtype()) || array.dtype().attr("hasobject").cast<bool>()) return false;
    return array.ndim() >= 1 && array.ndim() == out.ndim() &&
           std::equal(array.shape() + 1, array.shape() + array.ndim(), out.shape() + 1);
  };
  if (!dense(array) || !dense(out) || !dense(rows) || !same() || rows.ndim() != 1 || out.shape(0) != rows.shape(0))
    throw Error(
        "take_rows: expected C-contiguous arrays, `out` of the array's dtype and of a row for each of `rows`, got " +
        to_string(shape_of(array)) + ", " + to_string(shape_of(rows)) + " and " + to_string(shape_of(out)));
  const std::int64_t count = rows.shape(0), bytes = count ? out.nbytes() / count : 0;
  const std::int64_t* indices = rows.data();
  auto* to = static_cast<std::byte*>(out.mutable_data());
  const ReleasedGil released;
  cpu::gather_rows(static_cast<const std::byte*>(array.data()), array.shape(0), bytes, indices, count, to);
}

py::dict config() {
  py::dict d;
  py::list compiled, usable;
  for (Isa isa : compiled_isas()) {
    compiled.append(name_of(isa));
    if (supported(isa)) usable.append(name_of(isa));
  }
  d["isa"] = name_of(active_isa());
  d["isas_compiled"] = compiled;
  d["isas_supported"] = usable;
  d["openmp"] = openmp_runtime();
  d["threads"] = num_threads();
  d["threads_reason"] = num_threads_reason();
  py::dict c;
  c["l1d"] = caches().l1d;
  c["l2"] = caches().l2;
  c["l3"] = caches().l3;
  d["caches"] = c;
  d["cuda"] = false;
  return d;
}

}  // namespace
}  // namespace fastconv

// Subinterpreters: arrays that variables keep are released through the main one.
PYBIND11_MODULE(_core, m, py::mod_gil_not_used(), py::multiple_interpreters::not_supported()) {
  using namespace fastconv;
  m.doc() = "The C++ core of fastconv. Not a public interface.";

  py::class_<Variable, VariablePtr>(m, "Variable")
      .def(py::init(&make_variable), py::arg("array"), py::arg("name") = "")
      .def_static("wrap", &wrap, py::arg("array"), py::arg("name") = "", py::arg("mapped") = false)
      .def_property_readonly("name", &Variable::name)
      .def_property_readonly("shape", [](const Variable& v) { return shape_tuple(v.type().shape); })
      .def_property_readonly("dtype", [](const Variable& v) { return name_of(v.type().dtype); })
      .def_property_readonly("version", &Variable::version)
      .def("numpy", &to_array)
      .def("assign", &assign, py::arg("array"));

  py::class_<PyGraph>(m, "Graph")
      .def(py::init<>())
      .def(
          "input",
          [](PyGraph& graph, const std::string& name, const Shape& shape, const std::string& dtype) {
            return graph.locked([&](Graph& g) { return g.input(name, {shape, dtype_from_name(dtype)}); });
          },
          py::arg("name"), py::arg("shape"), py::arg("dtype") = "float32")
      .def(
          "variable",
          [](PyGraph& graph, const VariablePtr& variable) {
            return graph.locked([&](Graph& g) { return g.variable(variable); });
          },
          py::arg("variable"))
      .def(
          "constant",
          [](PyGraph& graph, const py::array& array) {
            const py::array a = dense(array);
            const TensorType type{shape_of(a), dtype_of(a)};
            return graph.locked([&](Graph& g) { return g.constant(type, a.data()); });
          },
          py::arg("array"))
      .def(
          "add",
          [](PyGraph& graph, const std::string& op, const std::vector<std::optional<int>>& inputs,
             const py::dict& attrs, const std::string& name) {
            Attrs a = to_attrs(attrs);
            return graph.locked([&](Graph& g) { return g.add(op, to_ids(inputs), std::move(a), name); });
          },
          py::arg("op"), py::arg("inputs"), py::arg("attrs") = py::dict(), py::arg("name") = "")
      .def(
          "shape",
          [](PyGraph& graph, int v) {
            return shape_tuple(graph.locked([&](Graph& g) { return g.value(v).type.shape; }));
          },
          py::arg("value"))
      .def(
          "dtype",
          [](PyGraph& graph, int v) { return name_of(graph.locked([&](Graph& g) { return g.value(v).type.dtype; })); },
          py::arg("value"))
      .def(
          "gradients",
          [](PyGraph& graph, const std::vector<int>& outputs, const std::vector<std::optional<int>>& seeds,
             const std::vector<int>& wrt) {
            return from_ids(graph.locked([&](Graph& g) { return g.gradients(outputs, to_ids(seeds), wrt); }));
          },
          py::arg("outputs"), py::arg("seeds"), py::arg("wrt"));

  py::class_<PackStore, std::shared_ptr<PackStore>>(m, "PackStore")
      .def(py::init<>())
      .def_property_readonly("bytes", &PackStore::bytes);

  py::class_<PyPlan>(m, "Plan")
      .def(py::init<PyGraph&, const std::vector<int>&, std::shared_ptr<PackStore>, bool, bool,
                    std::map<std::string, std::string>, bool>(),
           py::arg("graph"), py::arg("outputs"), py::arg("store") = nullptr, py::arg("strict") = false,
           py::arg("any_size") = false, py::arg("algorithms") = std::map<std::string, std::string>(),
           py::arg("recompute") = false)
      .def("run", py::overload_cast<const py::sequence&, int>(&PyPlan::run), py::arg("feeds"), py::arg("threads") = 0)
      .def("run_exact", &PyPlan::run_exact, py::arg("feeds"), py::arg("threads") = 0)
      .def("profile", &PyPlan::profile, py::arg("feeds"), py::arg("threads") = 0)
      .def_property_readonly("choices", &PyPlan::choices)
      .def_property_readonly("memory", &PyPlan::memory);

  m.def("operators", &op_names);
  m.def("take_rows", &take_rows, py::arg("array"), py::arg("rows"), py::arg("out"));
  m.def("set_num_threads", &set_num_threads, py::arg("n"), py::call_guard<ReleasedGil>());
  m.def("get_num_threads", &num_threads);
  m.def("config", &config);
  m.def("fma_peak", &fma_peak, py::arg("seconds") = 0.05);
  active_isa();  // a wrong FASTCONV_ISA or FASTCONV_NUM_THREADS is told at import
  num_threads();
}
