/* A QEMU plugin that counts the instructions of an aarch64 guest, and among them those of the int8 dot product and
 * matrix product, which a Cortex-A72 has not.
 *
 * The guest asks for the counts with getpriority(0x4452, tag): the kernel refuses such a call, and its library makes it
 * without doing anything else. Each call, and the end of the guest, appends a line "tag instructions dot_products" to
 * the file that the plugin was given; the end's tag is "end".
 *
 *     gcc -O2 -shared -fPIC -fvisibility=hidden -o count_instructions.so count_instructions.c
 *     qemu-aarch64 -plugin file=count_instructions.so,counts=FILE ...
 *
 * All threads of the guest share the two counters, and add to them without a lock: the counts of one thread are exact,
 * those of several a little low, and none that happened is 0.
 *
 * For the plugin interface 1 of QEMU 4.2 to 8.2 (docs/devel/tcg-plugins); later ones count with scoreboards. */

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define UNUSED __attribute__((unused))

/* From qemu-plugin.h, which Debian packages nowhere. */
typedef uint64_t plugin_id;
struct block;
struct instruction;
enum operation { INLINE_ADD_U64 };
typedef void on_translation(plugin_id, struct block *);
typedef void on_exit(plugin_id, void *);
typedef void on_system_call(plugin_id, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                            uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8);
extern size_t qemu_plugin_tb_n_insns(const struct block *);
extern struct instruction *qemu_plugin_tb_get_insn(const struct block *, size_t index);
extern const void *qemu_plugin_insn_data(const struct instruction *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, on_translation *);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct block *, enum operation, void *counter, uint64_t amount);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, on_system_call *);
extern void qemu_plugin_register_atexit_cb(plugin_id, on_exit *, void *data);

EXPORT int qemu_plugin_version = 1;

enum { GETPRIORITY = 141, MARK = 0x4452 };

static uint64_t instructions, dot_products;
static FILE *counts;

/* The encodings of the Arm Architecture Reference Manual, "Advanced SIMD three same (extra)" and "vector x indexed
 * element": a word is of a kind if the bits of the mask are those of the value. */
static const struct { uint32_t mask, value; } DOT_PRODUCTS[] = {
    {0x9FE0FC00, 0x0E809400}, /* SDOT, UDOT: vectors */
    {0x9FC0F400, 0x0F80E000}, /* SDOT, UDOT: by element */
    {0xBFE0FC00, 0x0E809C00}, /* USDOT: vectors */
    {0xBF40F400, 0x0F00F000}, /* SUDOT, USDOT: by element */
    {0xDFE0F400, 0x4E80A400}, /* SMMLA, UMMLA, USMMLA */
};

static int is_dot_product(uint32_t word) {
    for (size_t i = 0; i < sizeof DOT_PRODUCTS / sizeof *DOT_PRODUCTS; i++)
        if ((word & DOT_PRODUCTS[i].mask) == DOT_PRODUCTS[i].value)
            return 1;
    return 0;
}

/* A block runs from its beginning to its end, so its instructions are counted at once. */
static void count_block(plugin_id id UNUSED, struct block *block) {
    size_t length = qemu_plugin_tb_n_insns(block), dots = 0;
    for (size_t i = 0; i < length; i++) {
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof word);
        dots += is_dot_product(word);
    }
    qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD_U64, &instructions, length);
    if (dots)
        qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD_U64, &dot_products, dots);
}

static void write_mark(plugin_id id UNUSED, unsigned vcpu UNUSED, int64_t number, uint64_t which, uint64_t tag,
                       uint64_t a3 UNUSED, uint64_t a4 UNUSED, uint64_t a5 UNUSED, uint64_t a6 UNUSED,
                       uint64_t a7 UNUSED, uint64_t a8 UNUSED) {
    if (number == GETPRIORITY && which == MARK) {
        fprintf(counts, "%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", tag, instructions, dot_products);
        fflush(counts);
    }
}

static void write_end(plugin_id id UNUSED, void *data UNUSED) {
    fprintf(counts, "end %" PRIu64 " %" PRIu64 "\n", instructions, dot_products);
    fclose(counts);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *machine UNUSED, int argc, char **argv) {
    static const char option[] = "counts=";
    if (argc != 1 || strncmp(argv[0], option, strlen(option)) != 0) {
        fprintf(stderr, "count_instructions: the one argument is counts=FILE\n");
        return 1;
    }
    counts = fopen(argv[0] + strlen(option), "a");
    if (!counts) {
        perror(argv[0]);
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, count_block);
    qemu_plugin_register_vcpu_syscall_cb(id, write_mark);
    qemu_plugin_register_atexit_cb(id, write_end, NULL);
    return 0;
}
