/* Images moved at random: each output pixel takes from where its sample's motion says, as Keras's affine_transform does.
 *
 * A row of FDL_MOTIONS is one function here: of two uniform numbers u and v a sample it makes the map from an output's
 * pixel (x to the right, y down) to the place in the input. s: the row's scalars; right, bottom: the last pixel's x and y.
 * What lies between pixels is interpolated, what lies outside filled.
 */
#ifndef FDL_KERNELS_MOTION_H
#define FDL_KERNELS_MOTION_H

#include <string.h>

#include "../kernels.h"
#include "../shared/random.h"
#include "../shared/vec.h"
#include "../shared/vecmath.h"

/* (x, y) comes from (xx x + xy y + x0, yx x + yy y + y0), of FDL_PANEL samples. */
typedef struct {
    _Alignas(64) T xx[FDL_PANEL];
    T xy[FDL_PANEL], x0[FDL_PANEL], yx[FDL_PANEL], yy[FDL_PANEL], y0[FDL_PANEL];
} motions;
typedef struct {
    V xx, xy, x0, yx, yy, y0;
} motion;

INLINE V between(double low, double high, V u) { return (T)low + (T)(high - low) * u; }

/* About the image's middle. */
INLINE motion scaled(V width, V height, T right, T bottom) {
    const V none = {0};
    return (motion){width, none, (1 - width) * (right / 2), none, height, (1 - height) * (bottom / 2)};
}

/* left to right if s0, upside down if s1: both or neither */
INLINE motion motion_flip(V u, UNUSED V v, const double *s, T right, T bottom) {
    V way = choose(u < (T)0.5, splat(-1), splat(1)), stay = splat(1);
    return scaled(s[0] != 0 ? way : stay, s[1] != 0 ? way : stay, right, bottom);
}

/* down by s0 to s1 of the height, to the right by s2 to s3 of the width */
INLINE motion motion_translation(V u, V v, const double *s, T right, T bottom) {
    const V none = {0}, one = splat(1);
    return (motion){one, none, -between(s[2], s[3], v) * (right + 1), none, one, -between(s[0], s[1], u) * (bottom + 1)};
}

/* by s0 to s1 turns about the middle */
INLINE motion motion_rotation(V u, UNUSED V v, const double *s, T right, T bottom) {
    V turns = between(s[0], s[1], u), sine, cosine, x = splat(right / 2), y = splat(bottom / 2);
    turns -= (turns + FDL_MAGIC) - FDL_MAGIC;
    sine_cosine(turns * (T)3.14159265358979323846, &sine, &cosine);
    return (motion){cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y};
}

/* the height by 1 + s0 to 1 + s1, the width by 1 + s2 to 1 + s3: what is further out comes in */
INLINE motion motion_zoom(V u, V v, const double *s, T right, T bottom) {
    return scaled(1 + between(s[2], s[3], v), 1 + between(s[0], s[1], u), right, bottom);
}

/* both by 1 + s0 to 1 + s1 */
INLINE motion motion_even_zoom(V u, UNUSED V v, const double *s, T right, T bottom) {
    V by = 1 + between(s[0], s[1], u);
    return scaled(by, by, right, bottom);
}

/* The motions of a panel's samples: a row's function is inlined into the loop. */
INLINE void draw_motion(motion (*of)(V u, V v, const double *s, T right, T bottom), motions *to, const T *u, const T *v,
                        const double *s, T right, T bottom) {
    for (size_t i = 0; i < FDL_PANEL; i += VL) {
        motion m = of(load(u + i), load(v + i), s, right, bottom);
        store(to->xx + i, m.xx), store(to->xy + i, m.xy), store(to->x0 + i, m.x0);
        store(to->yx + i, m.yx), store(to->yy + i, m.yy), store(to->y0 + i, m.y0);
    }
}
#define FDL_ENTRY(name)                                                                                \
    static void draw_##name(motions *to, const T *u, const T *v, const double *s, T right, T bottom) { \
        draw_motion(motion_##name, to, u, v, s, right, bottom);                                        \
    }
FDL_MOTIONS(FDL_ENTRY)
#undef FDL_ENTRY
#define FDL_ENTRY(name) draw_##name,
static void (*const draw_motions[])(motions *, const T *, const T *, const double *, T, T) = {FDL_MOTIONS(FDL_ENTRY)};
#undef FDL_ENTRY

/* Draws the motions of a panel's samples, the same ones whenever it is called in a step. */
static void draw_panel(motions *to, const motion_args *a, const fdl_step *step, size_t panel) {
    const random_key key = key_of(step, a->stream);
    uint32_t bits[2][FDL_PANEL];
    _Alignas(64) T uniform[2][FDL_PANEL];
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < FDL_PANEL; i++) bits[k][i] = random_bits((uint32_t)(2 * (panel * FDL_PANEL + i) + k), key);
        draw_uniform(uniform[k], bits[k]);
    }
    draw_motions[a->motion](to, uniform[0], uniform[1], a->own, (T)a->width - 1, (T)a->height - 1);
}

/* The pixel in [0, size) that stands for pixel v, a whole number, of a line that goes on beyond both ends as `fill` says. */
INLINE V filled_from(V v, T size, size_t fill) {
    if (fill == FDL_FILL_WRAP) v -= size * round_down(v / size);
    if (fill == FDL_FILL_REFLECT) {
        v -= 2 * size * round_down(v / (2 * size));
        v = choose(v > size - 1, 2 * size - 1 - v, v);
    }
    v = choose(v < 0, splat(0), v);
    return choose(v > size - 1, splat(size - 1), v);
}

/* Where the samples of one output pixel come from: four places each, their weights, and what filling adds. */
typedef struct {
    _Alignas(64) I at[4][FDL_PANEL];
    _Alignas(64) T weight[4][FDL_PANEL];
    _Alignas(64) T rest[FDL_PANEL];
} sources;

INLINE void find_sources(sources *to, const motion_args *a, const motions *m, size_t row, size_t column) {
    const T height = (T)a->height, width = (T)a->width;
    const size_t fill = a->fill;
    const I pixel = (I)(a->channels * FDL_PANEL), line = (I)a->width * pixel;
    const VI lanes = FDL_IOTA;
    for (size_t i = 0; i < FDL_PANEL; i += VL) {
        V x = load(m->xx + i) * (T)column + load(m->xy + i) * (T)row + load(m->x0 + i);
        V y = load(m->yx + i) * (T)column + load(m->yy + i) * (T)row + load(m->y0 + i), outside = {0};
        if (a->nearest) x = round_down(x + (T)0.5), y = round_down(y + (T)0.5); /* the nearest pixel alone */
        V x_low = round_down(x), y_low = round_down(y);
        V across[2] = {1 - (x - x_low), x - x_low}, down[2] = {1 - (y - y_low), y - y_low};
        VI at_x[2], at_y[2], in_x[2], in_y[2];
        for (int k = 0; k < 2; k++) {
            V from_x = x_low + (T)k, from_y = y_low + (T)k;
            in_x[k] = (from_x >= 0) & (from_x < width);
            in_y[k] = (from_y >= 0) & (from_y < height);
            at_x[k] = __builtin_convertvector(filled_from(from_x, width, fill), VI) * pixel + lanes + (I)i;
            at_y[k] = __builtin_convertvector(filled_from(from_y, height, fill), VI) * line;
        }
        for (int k = 0; k < 4; k++) {
            V weight = across[k & 1] * down[k >> 1];
            if (fill == FDL_FILL_CONSTANT) {
                VI inside = in_x[k & 1] & in_y[k >> 1];
                outside += keep(~inside, weight);
                weight = keep(inside, weight);
            }
            *(VI *)(to->at[k] + i) = at_x[k & 1] + at_y[k >> 1];
            store(to->weight[k] + i, weight);
        }
        store(to->rest + i, outside * (T)a->fill_value);
    }
}

/* One channel of one output pixel: y = what its sources give. */
INLINE void read_sources(const sources *from, const T *image, T *y) {
    for (size_t i = 0; i < FDL_PANEL; i += VL) {
        V sum = load(from->rest + i);
        for (int k = 0; k < 4; k++) {
            V value;
            for (size_t j = 0; j < VL; j++) value[j] = image[from->at[k][i + j]];
            sum += load(from->weight[k] + i) * value;
        }
        store(y + i, sum);
    }
}

static void motion_forward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const motion_forward_args *a = args;
    const size_t pixel = a->channels * FDL_PANEL, size = a->height * a->width * pixel;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) {
        const T *image = (const T *)a->x + p * size;
        T *y = (T *)a->y + p * size;
        motions m;
        sources from;
        draw_panel(&m, args, step, p);
        for (size_t row = 0; row < a->height; row++)
            for (size_t column = 0; column < a->width; column++, y += pixel) {
                find_sources(&from, args, &m, row, column);
                for (size_t c = 0; c < pixel; c += FDL_PANEL) read_sources(&from, image + c, y + c);
            }
    }
}

/* The gradient of read_sources. */
INLINE void add_to_sources(const sources *from, T *image, const T *dy) {
    for (int k = 0; k < 4; k++)
        for (size_t i = 0; i < FDL_PANEL; i++) image[(size_t)from->at[k][i]] += from->weight[k][i] * dy[i];
}

static void motion_backward(const void *args, fdl_range range, const fdl_step *step, void *scratch) {
    const motion_backward_args *a = args;
    const size_t pixel = a->channels * FDL_PANEL, size = a->height * a->width * pixel;
    (void)scratch;
    for (size_t p = range.p0; p < range.p1; p++) {
        const T *dy = (const T *)a->dy + p * size;
        T *image = (T *)a->dx + p * size;
        motions m;
        sources from;
        memset(image, 0, size * sizeof(T));
        draw_panel(&m, args, step, p);
        for (size_t row = 0; row < a->height; row++)
            for (size_t column = 0; column < a->width; column++, dy += pixel) {
                find_sources(&from, args, &m, row, column);
                for (size_t c = 0; c < pixel; c += FDL_PANEL) add_to_sources(&from, image + c, dy + c);
            }
    }
}

#endif
