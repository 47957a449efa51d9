#include "guest/pv/layer.hpp"

#include "guest/pv/offsets.h"

static_assert(offsetof(understudy_layer, kernel_stack) == LAYER_KERNEL_STACK);
static_assert(offsetof(understudy_layer, user_gs) == LAYER_USER_GS);
static_assert(offsetof(understudy_layer, kernel_gs) == LAYER_KERNEL_GS);
static_assert(offsetof(understudy_layer, flush_due) == LAYER_FLUSH_DUE);
static_assert(offsetof(understudy_layer, system_calls) == LAYER_SYSTEM_CALLS);
static_assert(UNDERSTUDY_CALL_SLOT == UNDERSTUDY_CONTROL_ADDRESS + offsetof(understudy_control, syscall_entry));
static_assert(UNDERSTUDY_CALL_NUMBER_SHIFT == CALL_NUMBER_SHIFT && UNDERSTUDY_CALL_OFFSET_MASK == CALL_OFFSET_MASK);
static_assert(sizeof(understudy_frame) == FRAME_BYTES);
static_assert(UNDERSTUDY_EXCEPTION_STACK_BYTES == EXCEPTION_STACK_BYTES);
static_assert(offsetof(vcpu_info_t, evtchn_upcall_pending) == VCPU_INFO_PENDING);
static_assert(offsetof(vcpu_info_t, evtchn_upcall_mask) == VCPU_INFO_MASK);
static_assert(sizeof(understudy_layer) <= UNDERSTUDY_HYPERCALL_ADDRESS - UNDERSTUDY_LAYER_ADDRESS);
static_assert(sizeof(understudy_device) <= understudy::pv::kPageBytes);
static_assert(sizeof(understudy_control) <= understudy::pv::kPageBytes);

extern "C" {

extern std::uint8_t start[];
extern std::uint8_t trap_entry[];
extern std::uint8_t syscall_entry[];
extern std::uint8_t syscall_stub[];
extern std::uint8_t exception_vectors[];
extern std::uint8_t exception_stack_top[];

// The head of the image: layer.ld puts it at UNDERSTUDY_LAYER_ADDRESS.
[[gnu::section(".layer")]] understudy_layer layer = {
    .magic = UNDERSTUDY_LAYER_MAGIC,
    .version = UNDERSTUDY_PV_VERSION,
    .start = reinterpret_cast<understudy_u64>(start),
    .trap_entry = reinterpret_cast<understudy_u64>(trap_entry),
    .syscall_entry = reinterpret_cast<understudy_u64>(syscall_entry),
    .syscall_stub = reinterpret_cast<understudy_u64>(syscall_stub),
    .vectors = reinterpret_cast<understudy_u64>(exception_vectors),
    .exception_stack = reinterpret_cast<understudy_u64>(exception_stack_top),
};

vcpu_info_t* vcpu_info = &understudy::pv::shared_info().vcpu_info[0];
std::uint64_t syscall_callback = 0;
std::uint64_t upcall_due = 0;
std::uint64_t saved_stack = 0;

// What a compiler may call on its own.
void* memcpy(void* to, const void* from, std::size_t bytes) {
    void* const result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
    return result;
}
void* memset(void* to, int value, std::size_t bytes) {
    void* const result = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
    return result;
}

}  // extern "C"

namespace understudy::pv {

void die(understudy_fault why, const understudy_frame* frame) {
    layer.fault_frame = reinterpret_cast<u64>(frame);
    for (;;) {
        out<UNDERSTUDY_PORT_FAULT>(why);
    }
}

// The guest's first instructions, before the kernel's.
extern "C" void handle_start() {
    shared_info().vcpu_info[0].evtchn_upcall_mask = 1;
    start_clock();
}

}  // namespace understudy::pv
