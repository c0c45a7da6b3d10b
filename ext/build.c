/* One build of all kernels: for one element type and one instruction set, which the compiler's flags name.
 *
 * setup.py compiles this file once for each pair, with FDL_BUILD (the name of the table it defines) and
 * FDL_IS_F32 defined; everything else in the file is static, so the builds cannot mix.
 */
#include "kernels.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define FDL_VBYTES 64
#elif defined(__AVX__)
#define FDL_VBYTES 32
#else
#define FDL_VBYTES 16
#endif

#include "kernels/vec.h"
#include "kernels/vecmath.h"
#include "kernels/tile.h"
#include "kernels/rows.h"
#include "kernels/activations.h"
#include "kernels/affine.h"
#include "kernels/dropout.h"
#include "kernels/noise.h"
#include "kernels/motion.h"
#include "kernels/mix.h"
#include "kernels/batch_norm.h"
#include "kernels/prelu.h"
#include "kernels/merge.h"
#include "kernels/losses.h"
#include "kernels/log_softmax.h"
#include "kernels/layer_norm.h"
#include "kernels/penalties.h"
#include "kernels/optimizers.h"
#include "kernels/dense.h"
#include "kernels/matmul.h"

#define FDL_ENTRY(name, arguments, what) [FDL_K_##name] = name,
const fdl_build FDL_BUILD = {
    .vector_bytes = FDL_VBYTES,
    .kernel = {FDL_KERNELS(FDL_ENTRY)},
    .matmul = matmul,
    .matmul_buffer = matmul_buffer,
    .finite = all_finite,
};
