/* What each kernel is called with, which rules, activations, noises and motions there are, as data: read off the tables in kernels.h. */
#ifndef FDL_SIGNATURE_H
#define FDL_SIGNATURE_H

#include "kernels.h"

typedef struct {
    const char *name;
    int pointers, sizes, scalars;
} fdl_signature;

#define FDL_SIGNATURE(name, pointers, sizes, scalars) {#name, pointers, sizes, scalars},
static const fdl_signature fdl_signatures[] = {FDL_KERNELS(FDL_SIGNATURE)};
#undef FDL_SIGNATURE

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
