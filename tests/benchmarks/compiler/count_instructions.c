/* A QEMU plugin (TCG plugin API 1) that counts guest instructions and prints the count at each mark.
 *
 * A guest sets a mark by calling getpriority(0x5049, tag), which the kernel refuses and which costs nothing else. The
 * lines go to the file named by COUNTS: "tag instructions". One counter serves all threads, so count one thread. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))
#define AARCH64_GETPRIORITY 141
#define MARK 0x5049

typedef uint64_t plugin_id;
struct block;
enum { ADD_U64 }; /* qemu_plugin_op */

/* As qemu-plugin.h declares them; Debian ships no header. */
extern size_t qemu_plugin_tb_n_insns(const struct block *block);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*translated)(plugin_id, struct block *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct block *block, int operation, void *counter, uint64_t by);
extern void qemu_plugin_register_vcpu_syscall_cb(
    plugin_id id, void (*called)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                 uint64_t, uint64_t, uint64_t));

EXPORT int qemu_plugin_version = 1;

static uint64_t instructions;
static FILE *counts;

static void on_translation(plugin_id id, struct block *block) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &instructions, qemu_plugin_tb_n_insns(block));
}

static void on_system_call(plugin_id id, unsigned vcpu, int64_t number, uint64_t first, uint64_t second, uint64_t a,
                           uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f) {
    (void)id, (void)vcpu, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
    if (number == AARCH64_GETPRIORITY && first == MARK) {
        fprintf(counts, "%llu %llu\n", (unsigned long long)second, (unsigned long long)instructions);
        fflush(counts);
    }
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments) {
    (void)info, (void)count, (void)arguments;
    const char *path = getenv("COUNTS");
    counts = path ? fopen(path, "w") : NULL;
    if (!counts)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_system_call);
    return 0;
}
