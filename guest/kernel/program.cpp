#include "guest/kernel/program.hpp"

#include <linux/auxvec.h>

#include <cstddef>
#include <cstring>
#include <span>

#include "guest/kernel/address_space.hpp"
#include "guest/kernel/control.hpp"
#include "guest/kernel/frame.hpp"
#include "guest/kernel/panic.hpp"

namespace understudy::kernel {

namespace {

// CPUID(1).EDX of x86-64-v2: what AT_HWCAP means on x86.
constexpr std::uint64_t kHardwareCapabilities = 0x078bfbff;
constexpr std::uint64_t kUserBases = 2;  // AT_HWCAP2: programs may use WRFSBASE
constexpr std::uint64_t kClockTicks = 100;
constexpr std::uint64_t kMinimumSignalStack = 2048;

// The initial stack of the System V ABI, from its end downwards:
//   end   random bytes (16), platform name
//         auxiliary vector, AT_NULL last
//         environment pointers, null
//         argument pointers, null
//   RSP   argument count
// The strings stay where the boot image has them.
class InitialStack {
  public:
    explicit InitialStack(abi::Region stack) : bottom_(stack.base), top_(stack.base + stack.size) {}

    void* reserve(std::size_t size) {
        top_ = (top_ - size) & ~std::uint64_t{15};
        if (top_ < bottom_) {
            panic("the arguments do not fit the program's stack");
        }
        return reinterpret_cast<void*>(top_);
    }
    [[nodiscard]] std::uint64_t top() const { return top_; }

  private:
    std::uint64_t bottom_;
    std::uint64_t top_;
};

struct AuxiliaryEntry {
    std::uint64_t type;
    std::uint64_t value;
};

// Writes `count` pointers to consecutive strings, then null; returns behind the null.
std::uint64_t* put_pointers(std::uint64_t* out, std::uint64_t count, const char*& string) {
    for (std::uint64_t i = 0; i < count; ++i) {
        *out++ = reinterpret_cast<std::uint64_t>(string);
        string += std::strlen(string) + 1;
    }
    *out++ = 0;
    return out;
}

}  // namespace

void start_program() {
    const abi::Boot& image = boot();
    InitialStack stack(image.user_stack);
    constexpr std::size_t kRandomSize = 16;
    auto* random = static_cast<std::uint8_t*>(stack.reserve(kRandomSize));
    fill_random({random, kRandomSize});
    constexpr char kPlatform[] = "x86_64";
    void* platform = stack.reserve(sizeof kPlatform);
    std::memcpy(platform, kPlatform, sizeof kPlatform);

    const AuxiliaryEntry auxiliary[] = {
        {AT_PHDR, image.program_headers},
        {AT_PHENT, 56},
        {AT_PHNUM, image.program_header_count},
        {AT_PAGESZ, kPageSize},
        {AT_BASE, 0},
        {AT_FLAGS, 0},
        {AT_ENTRY, image.program_entry},
        {AT_UID, 0},
        {AT_EUID, 0},
        {AT_GID, 0},
        {AT_EGID, 0},
        {AT_SECURE, 0},
        {AT_CLKTCK, kClockTicks},
        {AT_HWCAP, kHardwareCapabilities},
        {AT_HWCAP2, kUserBases},
        {AT_PLATFORM, reinterpret_cast<std::uint64_t>(platform)},
        {AT_RANDOM, reinterpret_cast<std::uint64_t>(random)},
        {AT_EXECFN, image.strings.base},
        {AT_MINSIGSTKSZ, kMinimumSignalStack},
        {AT_NULL, 0},
    };
    const std::size_t words = 1 + image.argument_count + 1 + image.environment_count + 1;
    auto* out = static_cast<std::uint64_t*>(stack.reserve(words * sizeof(std::uint64_t) + sizeof auxiliary));
    *out++ = image.argument_count;
    const auto* string = reinterpret_cast<const char*>(image.strings.base);
    out = put_pointers(out, image.argument_count, string);
    out = put_pointers(out, image.environment_count, string);
    std::memcpy(out, auxiliary, sizeof auxiliary);

    static constinit Frame frame{};
    frame.rip = image.program_entry;
    frame.rsp = stack.top();
    frame.rflags = 0x202;
    understudy_resume(&frame);
}

}  // namespace understudy::kernel
