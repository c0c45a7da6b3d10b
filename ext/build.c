/* One build of all kernels: for one element type and one instruction set, which the compiler's flags name.
 *
 * setup.py compiles this file once for each pair, with FDL_BUILD (the name of the table it defines) and
 * FDL_IS_F32 defined; everything else in the file is static, so the builds cannot mix.
 */
#include "kernels.h"
#include "kernels/activations.h"
#include "kernels/affine.h"
#include "kernels/batch_norm.h"
#include "kernels/combine.h"
#include "kernels/constraints.h"
#include "kernels/counters.h"
#include "kernels/dense_forward.h"
#include "kernels/dense_input_grad.h"
#include "kernels/dense_step.h"
#include "kernels/dense_words.h"
#include "kernels/dense_weight_grad.h"
#include "kernels/directions.h"
#include "kernels/dropout.h"
#include "kernels/element_losses.h"
#include "kernels/embedding.h"
#include "kernels/formula.h"
#include "kernels/layer_norm.h"
#include "kernels/losses.h"
#include "kernels/matmul.h"
#include "kernels/members.h"
#include "kernels/merge.h"
#include "kernels/metrics.h"
#include "kernels/mix.h"
#include "kernels/motion.h"
#include "kernels/noise.h"
#include "kernels/optimizer_step.h"
#include "kernels/parametric_activation.h"
#include "kernels/penalties.h"
#include "kernels/periodic.h"
#include "kernels/piecewise_linear.h"
#include "kernels/prelu.h"
#include "kernels/rows.h"
#include "kernels/scale.h"
#include "kernels/softmax.h"
#include "kernels/strips.h"
#include "shared/vec.h"
#include "table.h"

#define FDL_ENTRY(name, arguments, what) [FDL_K_##name] = name,
const fdl_build FDL_BUILD = {
    .vector_bytes = FDL_VBYTES,
    .kernel = {FDL_KERNELS(FDL_ENTRY)},
    .matmul = matmul,
    .matmul_buffer = matmul_buffer,
    .finite = all_finite,
};
