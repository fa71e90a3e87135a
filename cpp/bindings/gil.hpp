// The GIL is given back while the core works.
#pragma once
#include <Python.h>

#if defined(__GLIBCXX__) && defined(__linux__)
#include <cxxabi.h>
#include <unistd.h>
#endif

namespace fastconv {

// While the interpreter ends, whoever asks for the GIL is ended with pthread_exit (before Python 3.14, which lets such
// threads wait for ever). glibc unwinds a thread for that, and destructors that must not throw, as that of
// py::gil_scoped_release, would abort the process. So a daemon thread that comes back from the core waits here instead:
// the process is about to end.
class ReleasedGil {
 public:
  ReleasedGil() : state_(PyEval_SaveThread()) {}
  ReleasedGil(const ReleasedGil&) = delete;
  ReleasedGil& operator=(const ReleasedGil&) = delete;
  ~ReleasedGil() {
#if defined(__GLIBCXX__) && defined(__linux__)
    try {
      PyEval_RestoreThread(state_);
    } catch (abi::__forced_unwind&) {
      for (;;) pause();
    }
#else
    PyEval_RestoreThread(state_);
#endif
  }

 private:
  PyThreadState* state_;
};

}  // namespace fastconv
