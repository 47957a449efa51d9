// Rewritten system calls (guest/linux/overlay/calls.c) where their stubs show: to who steps a program, and where the
// control page is not mapped. Both see what SYSCALL would have done.
#include "guest/pv/layer.hpp"

namespace understudy::pv {
namespace {

constexpr u8 kLoadWord = 0xb9;
constexpr u8 kShortJump = 0xeb;
constexpr u8 kJump = 0xe9;
constexpr u64 kLoadBytes = 5;
constexpr u64 kShortJumpBytes = 2;
constexpr u64 kJumpBytes = 5;
constexpr u64 kSyscallBytes = 2;
constexpr unsigned kMostInstructions = 8;

constexpr u64 kWayOutBytes = 7;
constexpr u8 kWayOutAddress[kWayOutBytes] = {0x4c, 0x8d, 0x1d};  // lea 0(%rip), %r11
constexpr u8 kWayOutJump[kWayOutBytes] = {
    0xff, 0x24, 0x25, UNDERSTUDY_CALL_SLOT & 0xff, UNDERSTUDY_CALL_SLOT >> 8 & 0xff, UNDERSTUDY_CALL_SLOT >> 16 & 0xff};

constexpr u64 page_of(u64 address) {
    return address & ~(kPageBytes - 1);
}

// A page of a program that is being executed.
struct Text {
    u64 page;

    [[nodiscard]] bool has(u64 at, u64 bytes) const { return page_of(at) == page && page_of(at + bytes - 1) == page; }
    [[nodiscard]] u8 byte(u64 at) const { return *reinterpret_cast<const volatile u8*>(at); }
    [[nodiscard]] u32 word(u64 at) const {
        return byte(at) | u32{byte(at + 1)} << 8 | u32{byte(at + 2)} << 16 | u32{byte(at + 3)} << 24;
    }
    [[nodiscard]] bool reads(u64 at, const u8 (&code)[kWayOutBytes]) const {
        bool equal = has(at, kWayOutBytes);
        for (u64 i = 0; i < kWayOutBytes && equal; ++i) {
            equal = byte(at + i) == code[i];
        }
        return equal;
    }
};

bool text_at(u64 address, Text& text) {
    text.page = page_of(address);
    return !is_kernel_address(address) && page_tables().translate(layer.page_table, address).present;
}

struct Stub {
    bool found;
    u32 word;
};

// What a program that stands at `at` is going to do, if that is nothing but a stub.
Stub read_stub(const Text& text, u64 at) {
    bool has_word = false;
    u32 word = 0;
    for (unsigned i = 0; i < kMostInstructions; ++i) {
        if (text.reads(at, kWayOutAddress)) {
            at += kWayOutBytes;
        } else if (text.reads(at, kWayOutJump)) {
            return {has_word, word};
        } else if (text.has(at, kLoadBytes) && text.byte(at) == kLoadWord && !has_word) {
            has_word = true;
            word = text.word(at + 1);
            at += kLoadBytes;
        } else if (text.has(at, kShortJumpBytes) && text.byte(at) == kShortJump) {
            at += kShortJumpBytes + static_cast<u64>(s64{static_cast<s8>(text.byte(at + 1))});
        } else if (text.has(at, kJumpBytes) && text.byte(at) == kJump) {
            at += kJumpBytes + static_cast<u64>(s64{static_cast<s32>(text.word(at + 1))});
        } else {
            break;
        }
    }
    return {false, 0};
}

void enter_layer(understudy_frame& frame, u64 page, u32 word) {
    frame.rcx = word;
    frame.r11 = page;
    frame.rip = layer.syscall_entry;
}

}  // namespace

bool finish_stepped_call(understudy_frame& frame) {
    Text text{};
    if (!text_at(frame.rip, text)) {
        return false;
    }
    const Stub stub = read_stub(text, frame.rip);
    const u64 syscall = text.page + (stub.word & UNDERSTUDY_CALL_OFFSET_MASK) - kSyscallBytes;
    const bool loads_number = (stub.word & UNDERSTUDY_CALL_NUMBERED) == 0;
    if (!stub.found || frame.rip == (loads_number ? syscall - kLoadBytes : syscall)) {
        return false;  // no stub, or the site, which comes now
    }
    if (loads_number) {
        // What was stepped is the load; SYSCALL still stands behind it.
        frame.rax = stub.word >> UNDERSTUDY_CALL_NUMBER_SHIFT;
        frame.rip = syscall;
        return false;
    }
    enter_layer(frame, text.page, stub.word);
    return true;
}

bool finish_call_without_control_page(understudy_frame& frame, u64 fault_address) {
    Text text{};
    if (fault_address != UNDERSTUDY_CALL_SLOT || !text_at(frame.rip, text) || !text.reads(frame.rip, kWayOutJump)) {
        return false;
    }
    enter_layer(frame, page_of(frame.r11), static_cast<u32>(frame.rcx));
    return true;
}

}  // namespace understudy::pv
