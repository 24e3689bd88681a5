/* The part of QEMU's qemu-plugin.h that the timing model uses; Debian packages the header nowhere.
 * Plugin interface 1, of QEMU 4.2 to 8.2 (docs/devel/tcg-plugins). */

#pragma once

#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))
#define UNUSED __attribute__((unused))

typedef uint64_t plugin_id;
struct qemu_block;
struct qemu_instruction;

enum { NO_REGISTERS = 0, READS_AND_WRITES = 3 };

typedef void on_translation(plugin_id, struct qemu_block *);
typedef void on_execution(unsigned vcpu, void *data);
typedef void on_access(unsigned vcpu, uint32_t information, uint64_t address, void *data);
typedef void on_plugin(plugin_id);
typedef void on_system_call(plugin_id, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                            uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8);

extern size_t qemu_plugin_tb_n_insns(const struct qemu_block *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_block *);
extern struct qemu_instruction *qemu_plugin_tb_get_insn(const struct qemu_block *, size_t index);
extern const void *qemu_plugin_insn_data(const struct qemu_instruction *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, on_translation *);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_block *, on_execution *, int registers, void *data);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_instruction *, on_execution *, int registers,
                                                   void *data);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_instruction *, on_access *, int registers, int accesses,
                                             void *data);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, on_system_call *);
extern void qemu_plugin_reset(plugin_id, on_plugin *);
