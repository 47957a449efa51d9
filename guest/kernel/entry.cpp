// Checks that the assembly's numbers are the ABI's.
#include <cstddef>

#include "guest/abi/abi.hpp"
#include "guest/kernel/frame.hpp"
#include "guest/kernel/layout.h"

namespace understudy::kernel {

template <std::size_t offset>
constexpr std::uint64_t kControl = abi::kControlBase + offset;

static_assert(CONTROL_CELL == kControl<offsetof(abi::Control, cell)>);
static_assert(CONTROL_ARMED == kControl<offsetof(abi::Control, armed)>);
static_assert(CONTROL_TRAP_ENTRY == kControl<offsetof(abi::Control, trap_entry)>);
static_assert(CONTROL_SYSCALL_ENTRY == kControl<offsetof(abi::Control, syscall_entry)>);
static_assert(CONTROL_CLOCK == kControl<offsetof(abi::Control, clock_ns)>);
static_assert(CONTROL_FAULT_FRAME == kControl<offsetof(abi::Control, fault_frame)>);
static_assert(CLOCK_SHIFT == abi::kClockShift);
static_assert(PORT_BUDGET == abi::kPortBudget);
static_assert(PORT_FAULT == abi::kPortFault);
static_assert(VECTOR_STUB_SIZE == abi::kVectorStubSize);
static_assert(FRAME_RIP == offsetof(Frame, rip));
static_assert(FRAME_RSP == offsetof(Frame, rsp));
static_assert(sizeof(Frame) % 16 == 0);

}  // namespace understudy::kernel
