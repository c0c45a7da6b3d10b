/* What each kernel is called with, which rules, activations, noises and motions there are, as data: read off the tables in kernels.h. */
#ifndef FDL_SIGNATURE_H
#define FDL_SIGNATURE_H

#include "kernels.h"

/* An argument of a kernel: `count` values of a kind, in as many slots. */
enum { FDL_READ, FDL_WRITTEN, FDL_SIZE, FDL_SCALAR };
typedef struct {
    const char *name, *what;
    int kind, count;
    int optional; /* an array that may be NULL */
} fdl_argument;

typedef struct {
    const char *name, *what;
    const fdl_argument *arguments;
    size_t count;
} fdl_signature;

#define READS(name, what) {#name, what, FDL_READ, 1, 0},
#define MAYBE_READS(name, what) {#name, what, FDL_READ, 1, 1},
#define WRITES(name, what) {#name, what, FDL_WRITTEN, 1, 0},
#define MAYBE_WRITES(name, what) {#name, what, FDL_WRITTEN, 1, 1},
#define MAYBE_WRITES_EACH(name, count, what) {#name, what, FDL_WRITTEN, count, 1},
#define SIZE(name, what) {#name, what, FDL_SIZE, 1, 0},
#define SCALAR(name, what) {#name, what, FDL_SCALAR, 1, 0},
#define SCALARS(name, count, what) {#name, what, FDL_SCALAR, count, 0},
#define FDL_ARGUMENTS(name, arguments, what) static const fdl_argument fdl_arguments_of_##name[] = {arguments};
FDL_KERNELS(FDL_ARGUMENTS)
#undef FDL_ARGUMENTS
#define FDL_SIGNATURE(name, arguments, what) \
    {#name, what, fdl_arguments_of_##name, sizeof fdl_arguments_of_##name / sizeof(fdl_argument)},
static const fdl_signature fdl_signatures[] = {FDL_KERNELS(FDL_SIGNATURE)};
#undef FDL_SIGNATURE
#undef READS
#undef MAYBE_READS
#undef WRITES
#undef MAYBE_WRITES
#undef MAYBE_WRITES_EACH
#undef SIZE
#undef SCALAR
#undef SCALARS

typedef struct {
    const char *name;
    int slots;
} fdl_rule;

#define FDL_RULE(name, slots) {#name, slots},
static const fdl_rule fdl_rules[] = {FDL_RULES(FDL_RULE)};
#undef FDL_RULE

typedef struct {
    const char *name, *reads;
} fdl_activation;

#define FDL_ACTIVATION(name, reads) {#name, #reads},
static const fdl_activation fdl_activations[] = {FDL_ACTIVATIONS(FDL_ACTIVATION)};
#undef FDL_ACTIVATION

#define FDL_NOISE(name, draws, reads) {#name, #reads},
static const fdl_activation fdl_noises[] = {FDL_NOISES(FDL_NOISE)};
#undef FDL_NOISE

#define FDL_MOTION_NAME(name) #name,
static const char *const fdl_motions[] = {FDL_MOTIONS(FDL_MOTION_NAME)};
#undef FDL_MOTION_NAME

#define FDL_LOSS(name) #name,
static const char *const fdl_losses[] = {FDL_LOSSES(FDL_LOSS)};
#undef FDL_LOSS

#endif
