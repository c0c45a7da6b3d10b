/* What each kernel is called with, and which rules, activations, noises, motions and losses there are, as data for Python:
 * from the lists in table.h and variants.h. */
#ifndef FDL_SIGNATURE_H
#define FDL_SIGNATURE_H

#include <stddef.h>

#include "kernels.h"
#include "table.h"
#include "variants.h"

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

#define FDL_ONE(kind, name, optional, what) {#name, what, FDL_##kind, 1, optional},
#define FDL_SEVERAL(kind, name, count, optional, what) {#name, what, FDL_##kind, count, optional},
#define FDL_ARGUMENTS(name, arguments, what) static const fdl_argument fdl_arguments_of_##name[] = {arguments};
FDL_KERNELS(FDL_ARGUMENTS)
#undef FDL_ARGUMENTS
#define FDL_SIGNATURE(name, arguments, what) \
    {#name, what, fdl_arguments_of_##name, sizeof fdl_arguments_of_##name / sizeof(fdl_argument)},
static const fdl_signature fdl_signatures[] = {FDL_KERNELS(FDL_SIGNATURE)};
#undef FDL_SIGNATURE
#undef FDL_SEVERAL
#undef FDL_ONE

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

typedef struct {
    const char *name;
    int operands;
} fdl_function;

#define FDL_FUNCTION(name, operands) {#name, operands},
static const fdl_function fdl_functions[] = {FDL_FUNCTIONS(FDL_FUNCTION)};
#undef FDL_FUNCTION

#define FDL_LOSS(name) #name,
static const char *const fdl_losses[] = {FDL_LOSSES(FDL_LOSS)};
#undef FDL_LOSS

#endif
