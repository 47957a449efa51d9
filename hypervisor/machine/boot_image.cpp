#include "hypervisor/machine/boot_image.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <filesystem>

#include "hypervisor/machine/code/hints.hpp"
#include "hypervisor/machine/code/rewriter.hpp"
#include "hypervisor/machine/platform.hpp"
#include "hypervisor/machine/read_file.hpp"

namespace understudy::machine {
namespace {

constexpr GuestAddress kMonitorState{0xa000};
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kFrameRingSize = 512 * std::uint64_t{abi::kFrameSlotSize};
constexpr std::uint64_t kConsoleRingSize = 64 << 10;
constexpr std::uint64_t kMinHeap = 4 << 20;  // for the program's heap and mappings together
constexpr std::uint64_t kGuardPage = kPage;

constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

// Where a program's first byte goes, relative to its link address.
std::uint64_t load_bias(const ElfImage& program) {
    return program.position_independent ? abi::kProgramBase - program.lowest() / kPage * kPage : 0;
}

// The regions above the program, from the top of memory down.
struct Layout {
    abi::Region program;
    abi::Region mappings;
    abi::Region user_stack;
    abi::Region kernel_heap;
    abi::Region root_archive;
    abi::Region receive_ring;
    abi::Region transmit_ring;
    abi::Region console_ring;
};

abi::Region take_from_top(std::uint64_t& top, std::uint64_t size) {
    top -= align_up(size, kPage);
    return {top, size};
}

std::uint64_t kernel_heap_size(std::uint64_t memory) {
    return std::clamp<std::uint64_t>(memory / 8, 4 << 20, 64 << 20) / kPage * kPage;
}
std::uint64_t user_stack_size(std::uint64_t memory) {
    return std::clamp<std::uint64_t>(memory / 16, 1 << 20, 8 << 20) / kPage * kPage;
}

std::optional<Layout> lay_out(const LoadedVm& vm, std::uint64_t memory) {
    const std::uint64_t bias = load_bias(vm.program);
    Layout layout{};
    layout.program.base = (vm.program.lowest() + bias) / kPage * kPage;
    layout.program.size = align_up(vm.program.highest() + bias, kPage) - layout.program.base;
    const std::uint64_t program_end = layout.program.base + layout.program.size;
    const std::uint64_t needed = program_end + kMinHeap + 2 * kFrameRingSize + kConsoleRingSize +
                                 kernel_heap_size(memory) + user_stack_size(memory) + kGuardPage +
                                 align_up(vm.root_archive.size(), kPage);
    if (memory < needed) {
        return std::nullopt;
    }
    std::uint64_t top = memory;
    layout.receive_ring = take_from_top(top, kFrameRingSize);
    layout.transmit_ring = take_from_top(top, kFrameRingSize);
    layout.console_ring = take_from_top(top, kConsoleRingSize);
    layout.root_archive = take_from_top(top, vm.root_archive.size());
    layout.kernel_heap = take_from_top(top, kernel_heap_size(memory));
    layout.user_stack = take_from_top(top, user_stack_size(memory));
    top -= kGuardPage;
    const std::uint64_t middle = align_up(program_end + (top - program_end) / 2, kPage);
    layout.mappings = {middle, top - middle};
    return layout;
}

std::optional<std::uint64_t> smallest_memory(const LoadedVm& vm) {
    for (std::uint64_t size = x86::kLargePageBytes; size <= kMaxMemory.value; size += x86::kLargePageBytes) {
        if (lay_out(vm, size)) {
            return size;
        }
    }
    return std::nullopt;
}

std::vector<std::byte> read_root_archive(const std::string& path) {
    std::vector<std::byte> bytes = read_file(path, "root archive");
    constexpr std::size_t kMagicAt = 257;
    if (bytes.size() < 512 || std::memcmp(bytes.data() + kMagicAt, "ustar", 5) != 0) {
        throw Error::format("{} is not a tar archive; make one with tar --format=ustar -cf", path);
    }
    return bytes;
}

std::string program_name(const LoadedVm& vm) {
    return std::filesystem::path(vm.config.program).filename().string();
}

std::vector<std::byte> string_block(const LoadedVm& vm) {
    std::vector<std::string> strings = {program_name(vm)};
    strings.insert(strings.end(), vm.config.arguments.begin(), vm.config.arguments.end());
    strings.insert(strings.end(), vm.config.environment.begin(), vm.config.environment.end());
    std::vector<std::byte> block;
    for (const std::string& text : strings) {
        const auto bytes = std::as_bytes(std::span(text.c_str(), text.size() + 1));
        block.insert(block.end(), bytes.begin(), bytes.end());
    }
    return block;
}

constexpr std::uint64_t kStringsBase = abi::kBootBase + align_up(sizeof(abi::Boot), 16);

void copy_segments(const ElfImage& image, std::uint64_t bias, GuestMemory& memory) {
    const std::atomic<bool> never{false};
    CodeRewriter rewriter(memory, never);
    for (const Segment& segment : image.segments) {
        const auto target = *memory.range({segment.address + bias}, segment.memory_size);
        std::copy(segment.bytes.begin(), segment.bytes.end(), target.begin());
    }
    const CodeHints hints = code_hints(image, bias);
    for (const Segment& segment : image.segments) {
        if (segment.executable) {
            rewriter.scan_segment({segment.address + bias, segment.bytes.size()}, hints);
        }
    }
}

[[noreturn]] void throw_too_large(const LoadedVm& vm) {
    throw Error::format("{} needs more memory than a guest can have, which is {} GiB", vm.config.program,
                        kMaxMemory.value >> 30);
}

void check_placement(const LoadedVm& vm) {
    const ElfImage& kernel = vm.kernel;
    if (kernel.lowest() < abi::kKernelBase || kernel.highest() > abi::kKernelLimit) {
        throw Error::format("{} is not an Understudy guest kernel: it is linked at {:#x}", kernel.path,
                            kernel.lowest());
    }
    if (!kernel.find("understudy_vectors")) {
        throw Error::format("{} is not an Understudy guest kernel: it has no symbol understudy_vectors", kernel.path);
    }
    // Where it ends, or how long it is: further on, sums of addresses fit.
    const ElfImage& program = vm.program;
    if (program.highest() - (program.position_independent ? program.lowest() : 0) > kMaxMemory.value) {
        throw_too_large(vm);
    }
    if (!vm.program.position_independent && vm.program.lowest() < abi::kProgramBase) {
        throw Error::format(
            "{} is linked at {:#x}, below the guest's {:#x}; link it at the default address or with "
            "-static-pie",
            vm.program.path, vm.program.lowest(), abi::kProgramBase);
    }
}

abi::Boot boot_page(const LoadedVm& vm, const Layout& layout, std::uint64_t memory, std::uint64_t string_size) {
    const std::uint64_t bias = load_bias(vm.program);
    abi::Boot boot{};
    boot.version = abi::kVersion;
    boot.memory_size = memory;
    boot.program_entry = vm.program.entry + bias;
    boot.program_headers = vm.program.program_headers == 0 ? 0 : vm.program.program_headers + bias;
    boot.program_header_count = vm.program.program_header_count;
    boot.program_base = bias;
    boot.program_image = layout.program;
    boot.argument_count = vm.config.arguments.size() + 1;
    boot.environment_count = vm.config.environment.size();
    boot.strings = {kStringsBase, string_size};
    boot.mappings = layout.mappings;
    boot.user_stack = layout.user_stack;
    boot.kernel_heap = layout.kernel_heap;
    boot.root_archive = layout.root_archive;
    boot.receive_ring = layout.receive_ring;
    boot.transmit_ring = layout.transmit_ring;
    boot.console_ring = layout.console_ring;
    boot.has_network = vm.config.has_network ? 1 : 0;
    std::copy(vm.config.network.mac.begin(), vm.config.network.mac.end(), std::begin(boot.mac));
    boot.ipv4_address = vm.config.network.address;
    boot.ipv4_netmask = vm.config.network.netmask;
    boot.ipv4_gateway = vm.config.network.gateway;
    vm.config.name.copy(boot.hostname, sizeof boot.hostname - 1);
    return boot;
}

}  // namespace

MonitorState& monitor_state(GuestMemory& memory) {
    return memory.at<MonitorState>(kMonitorState);
}
abi::Control& control(GuestMemory& memory) {
    return memory.at<abi::Control>({abi::kControlBase});
}

LoadedVm load_vm(const VmConfig& config) {
    LoadedVm vm{config, read_elf(config.kernel), read_elf(config.program), {}};
    if (!config.root_archive.empty()) {
        vm.root_archive = read_root_archive(config.root_archive);
    }
    check_placement(vm);
    if (config.memory.value % x86::kLargePageBytes != 0 || config.memory > kMaxMemory) {
        throw Error::format("guest memory must be a multiple of 2 MiB and at most {} GiB", kMaxMemory.value >> 30);
    }
    if (!lay_out(vm, config.memory.value)) {
        const auto enough = smallest_memory(vm);
        if (!enough) {
            throw_too_large(vm);
        }
        throw Error::format("{} MiB of guest memory is too small for {}; give it --memory {}M or more",
                            config.memory.value >> 20, config.program, *enough >> 20);
    }
    if (kStringsBase + string_block(vm).size() > abi::kBootLimit) {
        throw Error::format("the arguments and environment are longer than {} KiB",
                            (abi::kBootLimit - kStringsBase) >> 10);
    }
    return vm;
}

engine::BootState write_boot_image(const LoadedVm& vm, GuestMemory& memory) {
    engine::BootState state = write_platform(memory, {vm.kernel.find("understudy_vectors").value()});
    const Layout layout = lay_out(vm, memory.size().value).value();
    // A program that overflows its stack faults there, and not in whatever lies below.
    unmap_page(memory, {layout.user_stack.base - kGuardPage});
    copy_segments(vm.kernel, 0, memory);
    copy_segments(vm.program, load_bias(vm.program), memory);

    const std::vector<std::byte> strings = string_block(vm);
    memory.at<abi::Boot>({abi::kBootBase}) = boot_page(vm, layout, memory.size().value, strings.size());
    const auto string_home = *memory.range({kStringsBase}, strings.size());
    std::copy(strings.begin(), strings.end(), string_home.begin());
    const auto archive_home = *memory.range({layout.root_archive.base}, vm.root_archive.size());
    std::copy(vm.root_archive.begin(), vm.root_archive.end(), archive_home.begin());

    MonitorState& monitor = monitor_state(memory);
    monitor.receive_ring = layout.receive_ring;
    monitor.transmit_ring = layout.transmit_ring;
    monitor.console_ring = layout.console_ring;
    control(memory).realtime_offset_ns = static_cast<std::uint64_t>(vm.config.realtime_offset.count());
    state.registers.rip = vm.kernel.entry;
    return state;
}

}  // namespace understudy::machine
