#include "tests/unit/guest/pv/host_layer.hpp"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <new>
#include <system_error>

// What entry.S and layer.cpp define in the guest.
extern "C" {
understudy_layer layer;
vcpu_info_t* vcpu_info = nullptr;
std::uint64_t syscall_callback = 0;
std::uint64_t upcall_due = 0;
// Places in its text.
extern const std::uint8_t iret_to_program[1];
extern const std::uint8_t resume_iret[1];
extern const std::uint8_t layer_text_begin[1];
extern const std::uint8_t layer_text_end[1];
const std::uint8_t iret_to_program[1] = {};
const std::uint8_t resume_iret[1] = {};
const std::uint8_t layer_text_begin[1] = {};
const std::uint8_t layer_text_end[1] = {};
long handle_hypercall(std::uint64_t first, std::uint64_t second, std::uint64_t third, std::uint64_t fourth,
                      std::uint64_t fifth, std::uint64_t number);
}

namespace understudy::pv {
namespace {

constexpr u64 kWhole = HostLayer::kMemory + UNDERSTUDY_LAYER_BYTES;

// Of a fixed size, so that a signal handler may write it.
constexpr std::size_t kMostExits = 4096;
PortExit noted[kMostExits];
volatile std::size_t exits_noted = 0;

// OUT in ring 3 is a general protection fault: it is noted and stepped over.
void on_segmentation_fault(int signal, siginfo_t*, void* context) {
    auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    const auto* const code = reinterpret_cast<const u8*>(registers[REG_RIP]);
    constexpr greg_t kGeneralProtection = 13;
    constexpr u8 kOut = 0xe7;
    if (registers[REG_TRAPNO] != kGeneralProtection || code[0] != kOut) {
        std::signal(signal, SIG_DFL);  // the test's own mistake
        return;
    }
    const std::size_t at = exits_noted;
    if (at < kMostExits) {
        noted[at] = {code[1], static_cast<u32>(registers[REG_RAX])};
        exits_noted = at + 1;
    }
    registers[REG_RIP] += 2;
}

void map_shared(int file, u64 address, u64 bytes, u64 offset) {
    if (::mmap(reinterpret_cast<void*>(address), bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, file,
               static_cast<off_t>(offset)) == MAP_FAILED) {
        throw std::system_error(errno, std::generic_category(), "mmap");
    }
}

struct sigaction before;

}  // namespace

void die(understudy_fault why, const understudy_frame* /*frame*/) {
    throw LayerDied(why);
}

HostLayer::HostLayer() {
    const int file = ::memfd_create("guest", MFD_CLOEXEC);
    if (file < 0 || ::ftruncate(file, static_cast<off_t>(kWhole)) != 0) {
        throw std::system_error(errno, std::generic_category(), "memfd_create");
    }
    map_shared(file, UNDERSTUDY_PHYSICAL_ADDRESS, kWhole, 0);
    map_shared(file, UNDERSTUDY_LAYER_ADDRESS, UNDERSTUDY_LAYER_BYTES, kMemory);
    ::close(file);
    struct sigaction action {};
    action.sa_sigaction = on_segmentation_fault;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGSEGV, &action, &before);
    layer = {};
    layer.memory_bytes = kMemory;
    layer.page_table = kRoot;
    layer.control = kFirstFree - kPageBytes;
    vcpu_info = &shared_info().vcpu_info[0];
    upcall_due = 0;
    exits_noted = 0;
    set_timer(0);
}

HostLayer::~HostLayer() {
    ::sigaction(SIGSEGV, &before, nullptr);
    ::munmap(reinterpret_cast<void*>(UNDERSTUDY_PHYSICAL_ADDRESS), kWhole);
    ::munmap(reinterpret_cast<void*>(UNDERSTUDY_LAYER_ADDRESS), UNDERSTUDY_LAYER_BYTES);
}

long HostLayer::hypercall(u64 number, u64 first, u64 second, u64 third) {
    return handle_hypercall(first, second, third, 0, 0, number);
}

std::vector<PortExit> HostLayer::exits() {
    std::vector<PortExit> result(noted, noted + exits_noted);
    exits_noted = 0;
    return result;
}

void HostLayer::map(u64 address, u64 bits) {
    u64 table = kRoot;
    for (unsigned level = 4; level > 1; --level) {
        u64& above = entry(table + (address >> (3 + 9 * level) & 511) * sizeof(u64));
        if (above == 0) {
            above = next_table_ | kPresent | kWritable | kUser;
            next_table_ += kPageBytes;
        }
        table = above & kFrameMask;
    }
    entry(table + (address >> 12 & 511) * sizeof(u64)) = kPresent | bits;
}

}  // namespace understudy::pv
