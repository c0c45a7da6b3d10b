# cython: language_level=3, boundscheck=False, wraparound=False, binding=True
"""The binding: aligned memory, programs of kernels, matmul. It checks what it is given and calls C without the GIL."""

from collections import namedtuple
from operator import index

from cpython.buffer cimport (
    Py_buffer, PyBUF_C_CONTIGUOUS, PyBUF_STRIDES, PyBUF_FORMAT, PyBUF_WRITABLE, PyObject_GetBuffer, PyBuffer_FillInfo, PyBuffer_Release,
)
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free
from libc.string cimport memset

cdef extern from "kernels.h" nogil:
    enum: FDL_PANEL, FDL_UNIT, FDL_STRIP, FDL_MAX_FEEDS, FDL_MAX_RATES, FDL_MAX_WAVES, FDL_MAX_WAVE_OUTPUTS
    size_t FDL_SEEDED
    enum: FDL_LINEAR, FDL_RELU, FDL_SCALE, FDL_ROOT, FDL_INVERSE_ROOT, FDL_CHUNK, FDL_MAX_SLOTS, FDL_ACTIVATION_SCALARS, FDL_NOISE_SCALARS
    enum: FDL_FLOATS, FDL_ROUNDED, FDL_NATIVE, FDL_FILL_CONSTANT, FDL_FILL_NEAREST, FDL_FILL_REFLECT, FDL_FILL_WRAP
    enum: FDL_NORM_COLUMNS, FDL_NORM_ROWS, FDL_NORM_ALL
    enum: FDL_LENGTH_GIVEN, FDL_LENGTH_LAMB, FDL_LENGTH_ADAFACTOR
    ctypedef union fdl_slot:
        const void *p
        size_t n
        double s
    ctypedef struct fdl_args:
        fdl_slot slot[1]
    ctypedef struct fdl_feed:
        char *data
        ptrdiff_t stride
    ctypedef struct fdl_step:
        size_t batch, start
        const int64_t *index
        const double *rates
        const double *values
        size_t value_count
        uint64_t step, seed
        fdl_feed feed[1]
    ctypedef struct fdl_range:
        size_t part
    ctypedef void (*fdl_kernel)(const void *args, fdl_range range, const fdl_step *step, void *scratch)
    ctypedef struct fdl_matmul:
        size_t m, n, k
        const void *a
        const void *b
        void *c
        size_t a_row, a_col, b_row, b_col, ldc
    ctypedef struct fdl_build:
        size_t vector_bytes
        fdl_kernel kernel[1]

cdef extern from "signature.h" nogil:
    enum: FDL_READ, FDL_WRITTEN, FDL_SIZE, FDL_SCALAR
    ctypedef struct fdl_argument:
        const char *name
        const char *what
        int kind, count, optional
    ctypedef struct fdl_signature:
        const char *name
        const char *what
        const fdl_argument *arguments
        size_t count
    ctypedef struct fdl_rule:
        const char *name
        int slots
    ctypedef struct fdl_activation:
        const char *name
        const char *reads
    ctypedef struct fdl_function:
        const char *name
        int operands
    enum: FDL_FUNCTION_COUNT, FDL_FORMULA_INPUTS, FDL_FORMULA_SLOTS, FDL_SUM_OF, FDL_PRODUCT_OF, FDL_LARGEST_OF, FDL_SMALLEST_OF
    const fdl_function fdl_functions[1]
    enum: FDL_KERNEL_COUNT, FDL_RULE_COUNT, FDL_ACTIVATION_COUNT, FDL_NOISE_COUNT, FDL_MOTION_COUNT, FDL_LOSS_COUNT
    const fdl_signature fdl_signatures[1]
    const fdl_rule fdl_rules[1]
    const fdl_activation fdl_activations[1]
    const fdl_activation fdl_noises[1]
    const char *fdl_motions[1]
    const char *fdl_losses[1]

cdef extern from "program.h" nogil:
    void *fdl_allocate(size_t size)
    enum: FDL_BY_FEATURE, FDL_BY_PANEL, FDL_ONCE, FDL_BY_HALF, FDL_AFTER_HALVES, FDL_MAX_THREADS
    ctypedef struct fdl_instruction:
        fdl_kernel kernel
        fdl_args args
        size_t features, members, every
        int axis, barrier
        uint32_t scheduled
    ctypedef struct fdl_program:
        size_t count, batch, parts
        uint64_t *ticks
        int stop
    int fdl_program_append(fdl_program *program, const fdl_instruction *instruction)
    void fdl_program_free(fdl_program *program)
    int fdl_program_measure(fdl_program *program, int enabled)
    uint64_t fdl_now()
    void fdl_program_run(const fdl_program *program, const fdl_step *first, size_t steps, size_t threads)
    int fdl_index_fits(const int64_t *index, size_t n, size_t rows)
    int fdl_matmul_run(const fdl_build *build, const fdl_matmul *args, size_t itemsize, size_t threads)
    int fdl_finite_run(const fdl_build *build, const char *x, size_t rows, size_t columns, ptrdiff_t stride,
                       size_t itemsize, size_t threads)
    const fdl_build *fdl_find_build(const char *isa, size_t itemsize)
    int fdl_multiplies_words(const fdl_build *build)

PANEL = FDL_PANEL
UNIT = FDL_UNIT
STRIP = FDL_STRIP
CHUNK = FDL_CHUNK
MAX_RATES = FDL_MAX_RATES
MAX_WAVES, MAX_WAVE_OUTPUTS = FDL_MAX_WAVES, FDL_MAX_WAVE_OUTPUTS
MAX_FEEDS = FDL_MAX_FEEDS
SEEDED = FDL_SEEDED
BY_FEATURE, BY_PANEL, ONCE, BY_HALF, AFTER_HALVES = FDL_BY_FEATURE, FDL_BY_PANEL, FDL_ONCE, FDL_BY_HALF, FDL_AFTER_HALVES
LINEAR, RELU, FLOATS, ROUNDED, NATIVE = FDL_LINEAR, FDL_RELU, FDL_FLOATS, FDL_ROUNDED, FDL_NATIVE
SCALE, ROOT, INVERSE_ROOT = FDL_SCALE, FDL_ROOT, FDL_INVERSE_ROOT
NORM_COLUMNS, NORM_ROWS, NORM_ALL = FDL_NORM_COLUMNS, FDL_NORM_ROWS, FDL_NORM_ALL
LENGTH_GIVEN, LENGTH_LAMB, LENGTH_ADAFACTOR = FDL_LENGTH_GIVEN, FDL_LENGTH_LAMB, FDL_LENGTH_ADAFACTOR
MAX_SLOTS = FDL_MAX_SLOTS

RULES = {fdl_rules[i].name.decode(): (i, fdl_rules[i].slots) for i in range(FDL_RULE_COUNT)}
# name: (number, whether the derivative needs the input x, not the output)
ACTIVATIONS = {
    fdl_activations[i].name.decode(): (i, fdl_activations[i].reads == b"x") for i in range(FDL_ACTIVATION_COUNT)
}
ACTIVATION_SCALARS = FDL_ACTIVATION_SCALARS
# name: (number, whether the gradient needs the input x)
NOISES = {fdl_noises[i].name.decode(): (i, fdl_noises[i].reads == b"x") for i in range(FDL_NOISE_COUNT)}
NOISE_SCALARS = FDL_NOISE_SCALARS
MOTIONS = {fdl_motions[i].decode(): i for i in range(FDL_MOTION_COUNT)}
FILLS = {"constant": FDL_FILL_CONSTANT, "nearest": FDL_FILL_NEAREST, "reflect": FDL_FILL_REFLECT, "wrap": FDL_FILL_WRAP}
FUNCTIONS = {fdl_functions[i].name.decode(): (i, fdl_functions[i].operands) for i in range(FDL_FUNCTION_COUNT)}
FORMULA_INPUTS, FORMULA_SLOTS = FDL_FORMULA_INPUTS, FDL_FORMULA_SLOTS
SUM_OF, PRODUCT_OF, LARGEST_OF, SMALLEST_OF = FDL_SUM_OF, FDL_PRODUCT_OF, FDL_LARGEST_OF, FDL_SMALLEST_OF
LOSSES = {fdl_losses[i].decode(): i for i in range(FDL_LOSS_COUNT)}
Argument = namedtuple("Argument", "kind length optional what")
Kernel = namedtuple("Kernel", "number what arguments")


class Scheduled:
    """A number that a kernel is called with, and that follows a schedule: the `number`th of the values of each step."""

    def __init__(self, number):
        self.number = number


cdef dict arguments_of(const fdl_signature *kernel):
    kinds = {FDL_READ: "read", FDL_WRITTEN: "written", FDL_SIZE: "size", FDL_SCALAR: "scalar"}
    return {
        kernel.arguments[i].name.decode(): Argument(
            kinds[kernel.arguments[i].kind], kernel.arguments[i].count, bool(kernel.arguments[i].optional),
            kernel.arguments[i].what.decode(),
        )
        for i in range(kernel.count)
    }


# The kernel table (ext/table.h), by name.
KERNELS = {
    fdl_signatures[i].name.decode(): Kernel(i, fdl_signatures[i].what.decode(), arguments_of(&fdl_signatures[i]))
    for i in range(FDL_KERNEL_COUNT)
}
cdef const fdl_build *build_f32 = NULL
cdef const fdl_build *build_f64 = NULL
cdef str build_name = ""


def supported_isas():
    """The instruction sets that this library was built for and this CPU runs, best first."""
    return [name for name in ("v4", "v3", "portable") if fdl_find_build(name.encode(), 4) is not NULL]


def select_isa(str name):
    """Use the build `name`; programs made before keep theirs. ValueError if this CPU cannot run it."""
    global build_f32, build_f64, build_name
    if name not in supported_isas():
        raise ValueError(f"FASTDL_ISA={name!r} is not available here: choose one of {supported_isas()}")
    build_f32, build_f64 = fdl_find_build(name.encode(), 4), fdl_find_build(name.encode(), 8)
    build_name = name


def isa():
    """Name of the build in use and the width of its vectors in bytes."""
    return build_name, build_f32.vector_bytes


def now():
    return fdl_now()  # the clock in which programs measure kernels


def multiplies_bfloat16():
    """Whether this CPU multiplies bfloat16 by instructions that the build in use knows."""
    return bool(fdl_multiplies_words(build_f32))


cdef const fdl_build *build_for(size_t itemsize) except NULL:
    if itemsize != 4 and itemsize != 8:
        raise ValueError(f"element size must be 4 or 8 bytes, not {itemsize}")
    return build_f32 if itemsize == 4 else build_f64


cdef class Buffer:
    """Zeroed memory, aligned to 64 bytes, that numpy reads through the buffer protocol. MemoryError if there is none."""
    cdef void *memory
    cdef Py_ssize_t size

    def __cinit__(self, size_t size):
        cdef size_t rounded = (size + 63) // 64 * 64
        if rounded == 0:
            rounded = 64
        self.memory = NULL if size > (<size_t>1 << 62) else fdl_allocate(rounded)
        if self.memory == NULL:
            raise MemoryError(f"cannot allocate {size:,} bytes")
        self.size = rounded

    def __dealloc__(self):
        free(self.memory)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.memory, self.size, 0, flags)


cdef void *address(object array) except NULL:
    """Where a writable, C-contiguous, aligned array starts. The caller keeps the array alive."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
    cdef void *start = view.buf
    PyBuffer_Release(&view)
    if <uintptr_t>start % 64:
        raise ValueError("array is not aligned to 64 bytes")
    return start


def check_arguments(str kernel, arguments):
    """TypeError unless the kernel takes arguments of these names, and all that it must have are among them."""
    if kernel not in KERNELS:
        raise TypeError(f"there is no kernel {kernel!r}")
    wants = KERNELS[kernel].arguments
    for name in arguments:
        if name not in wants:
            raise TypeError(f"{kernel} has no argument {name!r}: it takes {', '.join(wants)}")
    missing = [name for name, argument in wants.items() if name not in arguments and not argument.optional]
    if missing:
        raise TypeError(f"{kernel} misses {', '.join(missing)}")


cdef void call_python(const void *args, fdl_range range, const fdl_step *step, void *scratch) noexcept with gil:
    """A kernel that is a Python function. What it raises stops its program, which raises it again."""
    cdef const fdl_slot *slot = (<fdl_args *>args).slot
    program = <Program>slot[0].p
    try:
        (<object>slot[1].p)()
    except BaseException as error:
        program.error = error
        program.program.stop = 1


cdef class Program:
    """Kernels in order with their arguments, for batches of `batch` rows and elements of `itemsize` bytes.

    parts: into how many parts the batch's panels are cut for work that is split by panels.
    """
    cdef fdl_program program
    cdef size_t itemsize
    cdef list alive
    cdef dict feeds
    cdef object error
    cdef bint calls_python
    cdef size_t values  # how many of each step it reads
    cdef readonly size_t steps_done  # of the last run

    def __cinit__(self, size_t batch, size_t itemsize, size_t parts=1):
        build_for(itemsize)
        if batch == 0:
            raise ValueError("a batch holds at least one row")
        if not 1 <= parts <= (batch + FDL_PANEL - 1) // FDL_PANEL:
            raise ValueError(f"{batch} rows cannot be cut into {parts} parts of whole panels")
        self.program.batch, self.program.parts, self.itemsize = batch, parts, itemsize
        self.alive, self.feeds = [], {}

    def __dealloc__(self):
        fdl_program_free(&self.program)

    def __len__(self):
        return self.program.count

    def declare_feed(self, size_t number, size_t row_bytes, bint writable):
        """Say what feed `number` holds: rows of `row_bytes` contiguous bytes."""
        if number >= FDL_MAX_FEEDS:
            raise ValueError(f"a program has at most {FDL_MAX_FEEDS} feeds")
        self.feeds[number] = (row_bytes, writable)

    def emit(self, str kernel, dict arguments, int axis, size_t features, bint barrier, size_t members=1, size_t every=1):
        """Append a kernel with its arguments by name: arrays or None, numbers, or sequences of them, as the kernel table
        says; a Scheduled may stand for a number that is no size. members: panels to each panel of the batch, for a kernel
        that goes panel by panel. every: it runs in steps whose number, from 1 on, is a multiple. TypeError for names that are wrong or missing, ValueError for another count."""
        cdef fdl_instruction instruction
        cdef size_t at = 0
        cdef str kind
        check_arguments(kernel, arguments)
        number, _, wants = KERNELS[kernel]
        memset(&instruction, 0, sizeof(instruction))
        instruction.kernel = build_for(self.itemsize).kernel[<size_t>number]
        if instruction.kernel is NULL:
            raise ValueError(f"{kernel} is not for elements of {self.itemsize} bytes")
        for name, (kind, count, optional, _) in wants.items():
            given = arguments.get(name)
            values = (given,) if count == 1 else (None,) * count if given is None else given
            if len(values) != count:
                raise ValueError(f"{kernel} takes {count} numbers or arrays as {name}, not {len(values)}")
            for value in values:
                if kind == "size" and value is None and optional:
                    instruction.args.slot[at].n = 0
                elif kind == "size":
                    instruction.args.slot[at].n = index(value)  # a float would be cut to a whole number
                elif kind == "scalar" and isinstance(value, Scheduled):
                    instruction.args.slot[at].n = value.number
                    instruction.scheduled |= <uint32_t>1 << at
                    self.values = max(self.values, <size_t>value.number + 1)
                elif kind == "scalar":
                    instruction.args.slot[at].s = value
                elif value is not None:
                    instruction.args.slot[at].p = address(value)
                elif not optional:
                    raise TypeError(f"{kernel} needs an array as {name}")
                at += 1
        instruction.axis, instruction.features, instruction.barrier = axis, features, barrier
        instruction.members, instruction.every = members, every
        if fdl_program_append(&self.program, &instruction):
            raise MemoryError("cannot grow the program")
        self.alive.append(arguments)

    def measure(self, bint enabled):
        """Whether runs measure how long each kernel takes each thread; counts begin at 0. MemoryError."""
        if fdl_program_measure(&self.program, enabled):
            raise MemoryError("no memory for a program's clocks")

    def ticks(self, size_t threads):
        """How long each kernel took, and last the waiting, in units of `now`: (threads, kernels + 1)."""
        if self.program.ticks is NULL or threads > FDL_MAX_THREADS:
            raise ValueError("call measure(True) before the run; there are at most 256 threads")
        return [[self.program.ticks[t * (self.program.count + 1) + n] for n in range(self.program.count + 1)] for t in range(threads)]

    def emit_call(self, function, bint barrier):
        """Append a Python function without arguments. From then on the program runs on the caller's thread alone."""
        cdef fdl_instruction instruction
        memset(&instruction, 0, sizeof(instruction))
        instruction.kernel = call_python
        instruction.args.slot[0].p, instruction.args.slot[1].p = <void *>self, <void *>function
        instruction.axis, instruction.features, instruction.barrier = FDL_ONCE, 1, barrier
        instruction.members = 1
        if fdl_program_append(&self.program, &instruction):
            raise MemoryError("cannot grow the program")
        self.alive.append(function)
        self.calls_python = True

    def run(self, feeds, size_t start, size_t steps, const int64_t[::1] index, const double[:, ::1] rates,
            uint64_t step, uint64_t seed, size_t threads, const double[:, ::1] values=None):
        """Run `steps` batches from row `start` of the feeds, or of `index` into them; rates: (steps, MAX_RATES); values:
        (steps, as many as Scheduled numbers stand for)."""
        cdef fdl_step first
        cdef Py_buffer view
        cdef size_t rows = <size_t>-1, end = start + steps * self.program.batch
        cdef bint fits
        self.steps_done = 0
        if steps == 0:
            return
        memset(&first, 0, sizeof(first))
        first.batch, first.start, first.step, first.seed = self.program.batch, start, step, seed
        for number, (row_bytes, writable) in self.feeds.items():
            PyObject_GetBuffer(feeds[number], &view, PyBUF_STRIDES | (PyBUF_WRITABLE if writable else 0))
            fits = view.ndim == 2 and view.strides[1] == view.itemsize and view.shape[1] * view.itemsize == row_bytes
            first.feed[<size_t>number].data = <char *>view.buf
            if fits:
                first.feed[<size_t>number].stride = view.strides[0]
                rows = min(rows, <size_t>view.shape[0])
            PyBuffer_Release(&view)
            if not fits:
                raise ValueError(f"feed {number} must have rows of {row_bytes} contiguous bytes")
        if index is not None:
            if <size_t>index.shape[0] < end:
                raise ValueError(f"the index holds {index.shape[0]} rows, {end} are needed")
            with nogil:
                fits = fdl_index_fits(&index[0] + start, end - start, rows)
            if not fits:
                raise ValueError(f"the index points outside the {rows} rows")
            first.index = &index[0]
        elif end > rows:
            raise ValueError(f"the feeds hold {rows} rows, {end} are needed")
        if rates is not None:
            if <size_t>rates.shape[0] < steps or rates.shape[1] != FDL_MAX_RATES:
                raise ValueError(f"rates must be ({steps}, {FDL_MAX_RATES})")
            first.rates = &rates[0, 0]
        if self.values:
            if values is None or <size_t>values.shape[0] < steps or <size_t>values.shape[1] < self.values:
                raise ValueError(f"values must be ({steps}, {self.values})")
            first.values, first.value_count = &values[0, 0], values.shape[1]
        if not self.calls_python:
            with nogil:
                fdl_program_run(&self.program, &first, steps, threads)
            self.steps_done = steps
        while self.steps_done < steps and not self.program.stop:  # on one thread: who stops must not leave others waiting
            with nogil:
                fdl_program_run(&self.program, &first, 1, 1)
            if not self.program.stop:
                self.steps_done += 1
                first.start += first.batch
                first.step += 1
                if first.rates != NULL:
                    first.rates += FDL_MAX_RATES
                if first.values != NULL:
                    first.values += first.value_count
        if self.program.stop:
            error, self.error, self.program.stop = self.error, None, 0
            raise error


cdef bint is_matrix(const Py_buffer *view, char kind):
    """Whether it is a matrix of aligned native elements `kind`, with strides that are whole and not negative."""
    cdef Py_ssize_t s = view.itemsize
    return (view.ndim == 2 and view.format != NULL and view.format[0] == kind and view.format[1] == 0
            and view.strides[0] >= 0 and view.strides[1] >= 0 and view.strides[0] % s == 0 and view.strides[1] % s == 0
            and <uintptr_t>view.buf % s == 0)


cdef uintptr_t end_of(const Py_buffer *view):
    cdef uintptr_t last = <uintptr_t>view.buf
    for i in range(2):
        last += <uintptr_t>((view.shape[i] - 1) * view.strides[i])
    return last + view.itemsize


cdef bint apart(const Py_buffer *a, const Py_buffer *b):
    """Whether two matrices that are not empty lie in different memory."""
    return end_of(a) <= <uintptr_t>b.buf or end_of(b) <= <uintptr_t>a.buf


def all_finite(x, size_t threads):
    """Whether no element is NaN or infinite; x: (rows, columns), float32 or float64, aligned, columns contiguous."""
    cdef Py_buffer view
    cdef char kind
    cdef int finite
    PyObject_GetBuffer(x, &view, PyBUF_STRIDES | PyBUF_FORMAT)
    try:
        kind = view.format[0] if view.format != NULL else 0
        if (view.ndim != 2 or kind not in (b"f", b"d") or view.format[1] != 0 or view.strides[1] != view.itemsize
                or <uintptr_t>view.buf % <size_t>view.itemsize or view.strides[0] % view.itemsize):
            raise ValueError("x must be an aligned matrix of float32 or float64 with contiguous rows")
        with nogil:
            finite = fdl_finite_run(build_f32 if kind == b"f" else build_f64, <const char *>view.buf, view.shape[0],
                                    view.shape[1], view.strides[0], view.itemsize, threads)
        return bool(finite)
    finally:
        PyBuffer_Release(&view)


def matmul(a, b, out, bint transpose_a, bint transpose_b, size_t threads):
    """out (m, n) = op(a) (m, k) op(b) (k, n), if all is as the kernel takes it; else False, and nothing is done.

    One dtype, float32 or float64; sizes that match and are not zero; out has contiguous rows and overlaps neither.
    """
    cdef Py_buffer va, vb, vc
    cdef fdl_matmul args
    cdef size_t s
    cdef char kind
    cdef int failed
    PyObject_GetBuffer(a, &va, PyBUF_STRIDES | PyBUF_FORMAT)
    try:
        PyObject_GetBuffer(b, &vb, PyBUF_STRIDES | PyBUF_FORMAT)
        try:
            PyObject_GetBuffer(out, &vc, PyBUF_STRIDES | PyBUF_FORMAT | PyBUF_WRITABLE)
            try:
                kind, s = va.format[0] if va.format != NULL else 0, va.itemsize
                if kind not in (b"f", b"d") or not (is_matrix(&va, kind) and is_matrix(&vb, kind) and is_matrix(&vc, kind)):
                    return False
                args.m, args.k, args.n = va.shape[transpose_a], va.shape[not transpose_a], vb.shape[not transpose_b]
                if (<size_t>vb.shape[transpose_b] != args.k or <size_t>vc.shape[0] != args.m
                        or <size_t>vc.shape[1] != args.n or args.m * args.n * args.k == 0):
                    return False
                if (args.n > 1 and <size_t>vc.strides[1] != s) or not (apart(&va, &vc) and apart(&vb, &vc)):
                    return False
                args.a, args.b, args.c = va.buf, vb.buf, vc.buf
                args.a_row, args.a_col = va.strides[transpose_a] // s, va.strides[not transpose_a] // s
                args.b_row, args.b_col = vb.strides[transpose_b] // s, vb.strides[not transpose_b] // s
                args.ldc = vc.strides[0] // s
                with nogil:
                    failed = fdl_matmul_run(build_f32 if kind == b"f" else build_f64, &args, s, threads)
                if failed:
                    raise MemoryError("cannot allocate matmul's packing buffers")
                return True
            finally:
                PyBuffer_Release(&vc)
        finally:
            PyBuffer_Release(&vb)
    finally:
        PyBuffer_Release(&va)
