#include "hypervisor/machine/linux_image.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "hypervisor/engine/x86.hpp"
#include "hypervisor/machine/cpuid_table.hpp"
#include "hypervisor/machine/disk_image.hpp"
#include "hypervisor/machine/initrd.hpp"
#include "hypervisor/machine/read_file.hpp"

// Xen's public interface (libxen-dev): what a PV guest finds when it starts.
#define __XEN_INTERFACE_VERSION__ 0x00040d00  // NOLINT: the header asks for it
#include <xen/xen.h>

namespace understudy::machine {
namespace {

// Where the kernel is linked: physical address 0.
constexpr std::uint64_t kKernelMap = 0xffffffff80000000;
constexpr std::uint64_t kKernelMapBytes = 512ULL << 20;
constexpr std::uint64_t kPage = x86::kPageBytes;
constexpr std::uint64_t kMaxRam = std::uint64_t{64} << 30;
constexpr std::uint64_t kMinFree = 32ULL << 20;  // for the kernel to start and run anything

// All that maps the guest's memory: present, writable, user, and never written by the processor.
constexpr std::uint64_t kEntry = x86::kPresent | x86::kWritable | x86::kUser | x86::kAccessed | x86::kDirty;

constexpr std::uint16_t kStubSelector = 0x10;
constexpr std::uint16_t kDataSelector = 0x2b;
constexpr std::uint16_t kCodeSelector = 0x33;
constexpr std::uint16_t kTssSelector = 0x40;
constexpr std::uint16_t kProcessorSelector = 0x78;
constexpr std::uint16_t kGdtEntries = 16;

// Tables in the layer's region, from UNDERSTUDY_TABLES_OFFSET on.
constexpr std::uint64_t kSlotTable = 0;           // the page that PML4 slot 257 names
constexpr std::uint64_t kLayerDirectory = kPage;  // large pages from UNDERSTUDY_LAYER_ADDRESS on
constexpr std::uint64_t kGdt = 2 * kPage;
constexpr std::uint64_t kIdt = 3 * kPage;
constexpr std::uint64_t kTss = 4 * kPage;
constexpr std::uint64_t kPhysicalDirectories = 8 * kPage;  // one a GiB

constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}
constexpr std::uint64_t table_index(std::uint64_t address, unsigned level) {
    return address >> (3 + 9 * level) & (x86::kEntriesPerTable - 1);
}

std::uint64_t physical_of(std::uint64_t kernel_address) {
    return kernel_address - kKernelMap;
}

// What lies behind the kernel's image, in this order.
struct Layout {
    std::uint64_t initrd = 0;
    std::uint64_t frames = 0;  // the physical-to-machine list
    std::uint64_t frame_bytes = 0;
    std::uint64_t start_info = 0;
    std::uint64_t stack = 0;
    std::uint64_t page_tables = 0;
    std::uint64_t leaf_tables = 0;  // how many of them map the kernel's image and all of this
    std::uint64_t end = 0;
};

Layout lay_out(const LoadedLinux& linux, std::uint64_t ram) {
    constexpr std::uint64_t kSlack = 1ULL << 20;  // Linux takes its first pages from behind the tables
    constexpr std::uint64_t kMapped = 4ULL << 20;
    Layout layout;
    layout.initrd = align_up(physical_of(linux.kernel.highest()), kPage);
    layout.frames = align_up(layout.initrd + linux.initrd.size(), kPage);
    layout.frame_bytes = align_up(ram / kPage * sizeof(std::uint64_t), kPage);
    layout.start_info = layout.frames + layout.frame_bytes;
    layout.stack = layout.start_info + kPage;
    layout.page_tables = layout.stack + kPage;
    constexpr std::uint64_t kUpperTables = 3;
    const std::uint64_t mapped_without = layout.page_tables + kUpperTables * kPage + kSlack;
    // The leaf tables map themselves, too.
    layout.leaf_tables =
        align_up(mapped_without + mapped_without / x86::kEntriesPerTable + kPage, kMapped) / x86::kLargePageBytes;
    layout.end = layout.page_tables + (kUpperTables + layout.leaf_tables) * kPage;
    return layout;
}

ElfImage read_kernel(const std::string& path) {
    try {
        return read_elf(path);
    } catch (const Error& error) {
        throw Error::format(
            "{} is no kernel for an Understudy guest, which is a vmlinux that guest/linux built (its own if none is "
            "named): {}",
            path, error.what());
    }
}

void check_kernel(const ElfImage& kernel) {
    if (!kernel.find("startup_xen") || !kernel.find("understudy_control")) {
        throw Error::format(
            "{} is no kernel for an Understudy guest: it was built without guest/linux; name build/guest/linux/vmlinux",
            kernel.path);
    }
    if (kernel.lowest() < kKernelMap || physical_of(kernel.highest()) > kKernelMapBytes) {
        throw Error::format("{} is no kernel for an Understudy guest: it is linked at {:#x}", kernel.path,
                            kernel.lowest());
    }
    for (const auto& [symbol, bytes] : {std::pair("startup_xen", 1UL), std::pair("understudy_control", kPage)}) {
        const std::uint64_t address = kernel.find(symbol).value();
        if (address < kernel.lowest() || address > kernel.highest() || bytes > kernel.highest() - address ||
            address % bytes != 0) {
            throw Error::format("{} is damaged: its {} is at {:#x}", kernel.path, symbol, address);
        }
    }
}

void check_layer(const ElfImage& layer) {
    const Segment& first = layer.segments.front();
    const auto* head = reinterpret_cast<const understudy_layer*>(first.bytes.data());
    if (first.address != UNDERSTUDY_LAYER_ADDRESS ||
        layer.highest() > UNDERSTUDY_LAYER_ADDRESS + UNDERSTUDY_TABLES_OFFSET || first.bytes.size() < sizeof *head ||
        head->magic != UNDERSTUDY_LAYER_MAGIC || head->version != UNDERSTUDY_PV_VERSION) {
        throw Error::format("{} is not this version's paravirtual layer; name build/guest/linux/layer", layer.path);
    }
}

// What is laid out grows with the memory, by a little.
std::uint64_t least_memory(const LoadedLinux& linux) {
    std::uint64_t least = 0;
    std::uint64_t before = 0;
    do {
        before = least;
        least = align_up(lay_out(linux, before).end + kMinFree, x86::kLargePageBytes);
    } while (before != least);
    return least;
}

// What the kernel has to say goes to the console; of what it merely tells, nothing. What the user says comes last and
// wins.
std::string command_line(const LinuxConfig& config) {
    return "console=hvc0 quiet " + config.command_line;
}

class Writer {
  public:
    Writer(const LoadedLinux& linux, GuestMemory& memory)
        : linux_(linux), memory_(memory), ram_(linux.config.memory.value), layout_(lay_out(linux, ram_)) {}

    engine::BootState write() {
        copy(linux_.kernel, kKernelMap, 0);
        copy(linux_.layer, UNDERSTUDY_LAYER_ADDRESS, ram_);
        copy_bytes(layout_.initrd, linux_.initrd);
        write_frame_lists();
        write_start_info();
        write_kernel_map();
        write_layer_map();
        write_descriptors();
        write_cpuid();
        write_shared_pages();
        engine::BootState state = linux_boot_state(layer().syscall_stub);
        state.page_table = layout_.page_tables;
        state.registers.rip = layer().start;
        state.registers.general[engine::kRax] = linux_.kernel.find("startup_xen").value();
        state.registers.general[engine::kRsi] = kKernelMap + layout_.start_info;
        state.registers.general[engine::kRsp] = kKernelMap + layout_.stack + kPage;
        return state;
    }

  private:
    [[nodiscard]] understudy_layer& layer() { return memory_.at<understudy_layer>({ram_}); }

    void copy_bytes(std::uint64_t to, std::span<const std::byte> bytes) {
        const auto target = *memory_.range({to}, bytes.size());
        std::ranges::copy(bytes, target.begin());
    }
    void copy(const ElfImage& image, std::uint64_t linked_at, std::uint64_t to) {
        for (const Segment& segment : image.segments) {
            copy_bytes(segment.address - linked_at + to, segment.bytes);
        }
    }

    // Frames are what they seem to be: machine frame n is physical frame n.
    void write_frame_lists() {
        for (std::uint64_t page = 0; page < ram_ / kPage; ++page) {
            memory_.at<std::uint64_t>({layout_.frames + page * sizeof page}) = page;
            memory_.at<std::uint64_t>({ram_ + UNDERSTUDY_LAYER_BYTES + page * sizeof page}) = page;
        }
    }

    void write_start_info() {
        auto& info = memory_.at<start_info_t>({layout_.start_info});
        static constexpr std::string_view kMagic = "xen-3.0-x86_64";
        kMagic.copy(info.magic, sizeof info.magic - 1);
        info.nr_pages = ram_ / kPage;
        info.shared_info = ram_ + UNDERSTUDY_SHARED_OFFSET;
        info.pt_base = kKernelMap + layout_.page_tables;
        info.nr_pt_frames = 3 + layout_.leaf_tables;
        info.mfn_list = kKernelMap + layout_.frames;
        if (!linux_.initrd.empty()) {
            info.mod_start = kKernelMap + layout_.initrd;
            info.mod_len = linux_.initrd.size();
        }
        auto* const line = reinterpret_cast<char*>(info.cmd_line);
        command_line(linux_.config).copy(line, sizeof info.cmd_line - 1);
    }

    std::uint64_t& entry(std::uint64_t table, std::uint64_t index) {
        return memory_.at<std::uint64_t>({table + index * sizeof(std::uint64_t)});
    }

    // What the kernel starts on: its image and what lies behind it, in small pages as Xen has them.
    void write_kernel_map() {
        const std::uint64_t top = layout_.page_tables;
        const std::uint64_t upper = top + kPage;
        const std::uint64_t directory = upper + kPage;
        const std::uint64_t leaves = directory + kPage;
        entry(top, table_index(kKernelMap, 4)) = upper | kEntry;
        entry(upper, table_index(kKernelMap, 3)) = directory | kEntry;
        for (std::uint64_t table = 0; table < layout_.leaf_tables; ++table) {
            entry(directory, table) = (leaves + table * kPage) | kEntry;
            for (std::uint64_t page = 0; page < x86::kEntriesPerTable; ++page) {
                entry(leaves + table * kPage, page) = (table * x86::kLargePageBytes + page * kPage) | kEntry;
            }
        }
        entry(top, UNDERSTUDY_PML4_SLOT) = (ram_ + UNDERSTUDY_TABLES_OFFSET + kSlotTable) | kEntry;
    }

    // PML4 slot 257: the layer's region, and all of memory once more for the layer to look at.
    void write_layer_map() {
        const std::uint64_t tables = ram_ + UNDERSTUDY_TABLES_OFFSET;
        const std::uint64_t whole = whole_memory({ram_}).value;
        entry(tables + kSlotTable, table_index(UNDERSTUDY_LAYER_ADDRESS, 3)) = (tables + kLayerDirectory) | kEntry;
        for (std::uint64_t offset = 0; ram_ + offset < whole; offset += x86::kLargePageBytes) {
            entry(tables + kLayerDirectory, offset / x86::kLargePageBytes) = (ram_ + offset) | kEntry | x86::kLarge;
        }
        const std::uint64_t first = table_index(UNDERSTUDY_PHYSICAL_ADDRESS, 3);
        for (std::uint64_t at = 0; at < whole; at += x86::kLargePageBytes) {
            const std::uint64_t page = at / x86::kLargePageBytes;
            const std::uint64_t directory = tables + kPhysicalDirectories + page / x86::kEntriesPerTable * kPage;
            entry(tables + kSlotTable, first + page / x86::kEntriesPerTable) = directory | kEntry;
            entry(directory, page % x86::kEntriesPerTable) = at | kEntry | x86::kLarge;
        }
    }

    void write_descriptors() {
        const std::uint64_t tables = ram_ + UNDERSTUDY_TABLES_OFFSET;
        std::array<std::uint64_t, kGdtEntries> gdt{};
        gdt[kStubSelector / 8] = x86::code_segment(0).encoded();
        gdt[kStubSelector / 8 + 1] = x86::data_segment(0).encoded();
        gdt[kDataSelector / 8] = x86::data_segment(3).encoded();
        gdt[kCodeSelector / 8] = x86::code_segment(3).encoded();
        const std::uint64_t tss_address = UNDERSTUDY_LAYER_ADDRESS + UNDERSTUDY_TABLES_OFFSET + kTss;
        const x86::SegmentDescriptor tss{
            .base = tss_address, .limit = x86::kTssBytes - 1, .type = x86::kAvailableTss, .code_or_data = false};
        gdt[kTssSelector / 8] = tss.encoded();
        gdt[kTssSelector / 8 + 1] = tss_address >> 32;
        // Programs learn which processor they are on from the limit of this segment (the vDSO's getcpu).
        gdt[kProcessorSelector / 8] =
            x86::SegmentDescriptor{.limit = 0, .type = x86::kDataReadWriteAccessed, .privilege = 3}.encoded();
        memory_.at<decltype(gdt)>({tables + kGdt}) = gdt;

        constexpr std::uint64_t kStackOffset = 4;  // RSP0; the interrupt stack table follows at 0x24
        constexpr std::uint64_t kInterruptStacks = 0x24;
        constexpr unsigned kStacks = 7;
        const auto put_stack = [&](std::uint64_t offset) {
            const auto bytes = *memory_.range({tables + kTss + offset}, sizeof(std::uint64_t));
            std::memcpy(bytes.data(), &layer().exception_stack, sizeof(std::uint64_t));
        };
        put_stack(kStackOffset);
        for (unsigned i = 0; i < kStacks; ++i) {
            put_stack(kInterruptStacks + i * sizeof(std::uint64_t));
        }
        // The layer's ports, in eights, with the next three of the last (EAX is four bytes). All others fault, as they
        // do for any program.
        memory_.at<std::uint16_t>({tables + kTss + x86::kTssBitmapPointer}) = x86::kTssBitmap;
        const auto ports = *memory_.range({tables + kTss + x86::kTssBitmap}, x86::kTssBytes - x86::kTssBitmap);
        std::ranges::fill(ports, std::byte{0xff});
        for (const std::size_t first : {std::size_t{UNDERSTUDY_PORT_IDLE}, std::size_t{UNDERSTUDY_PORT_PAGE_TABLE}}) {
            ports[first / 8] = ports[first / 8 + 1] = std::byte{0};
        }
        for (std::uint64_t vector = 0; vector < 256; ++vector) {
            const std::uint64_t stub = layer().vectors + vector * UNDERSTUDY_VECTOR_BYTES;
            // Interrupts stay on: ring 3 could not turn them on again. Of its own accord (INT n) a program comes by those
            // that are for it only, as Linux has it: breakpoint and overflow.
            constexpr std::uint64_t kTrapGate = 0x8f;
            constexpr std::uint64_t kForPrograms = 0x60;
            const std::uint64_t type = vector == 3 || vector == 4 ? kTrapGate | kForPrograms : kTrapGate;
            constexpr std::uint64_t kFirstStack = 1;
            const std::array<std::uint64_t, 2> gate = {(stub & 0xffff) | std::uint64_t{kCodeSelector} << 16 |
                                                           kFirstStack << 32 | type << 40 |
                                                           (stub >> 16 & 0xffff) << 48,
                                                       stub >> 32};
            memory_.at<std::array<std::uint64_t, 2>>({tables + kIdt + vector * sizeof gate}) = gate;
        }
    }

    // The kernel is told, besides, that Xen answers it; programs are not.
    void write_cpuid() {
        std::vector<understudy_cpuid> rows = {
            {0x40000000, 0, 1, 1, 0x40000002, 0x566e6558, 0x65584d4d, 0x4d4d566e},  // "XenVMMXenVMM"
            {0x40000001, 0, 1, 1, 4U << 16 | 17U, 0, 0, 0},
            {0x40000002, 0, 1, 1, 0, 0, 0, 0}};
        for (const CpuidRow& row : cpuid_table()) {
            rows.push_back({row.leaf, 0, 1, 0, row.result.eax, row.result.ebx, row.result.ecx, row.result.edx});
        }
        for (std::size_t i = 0; i < rows.size(); ++i) {
            memory_.at<understudy_cpuid>({ram_ + UNDERSTUDY_CPUID_OFFSET + i * sizeof(understudy_cpuid)}) = rows[i];
        }
        layer().cpuid_entries = static_cast<std::uint32_t>(rows.size());
    }

    void write_shared_pages() {
        const LinuxPlaces places = places_of(linux_);
        layer().memory_bytes = ram_;
        layer().control = places.control;
        layer().page_table = layout_.page_tables;
        auto& control = memory_.at<understudy_control>({places.control});
        control = {};
        control.trap_entry = layer().trap_entry;
        control.syscall_entry = layer().syscall_entry;
        control.realtime_offset_ns = static_cast<std::uint64_t>(linux_.config.realtime_offset.count());
    }

    const LoadedLinux& linux_;
    GuestMemory& memory_;
    const std::uint64_t ram_;
    const Layout layout_;
};

}  // namespace

Bytes whole_memory(Bytes ram) {
    const std::uint64_t table = align_up(ram.value / kPage * sizeof(std::uint64_t), x86::kLargePageBytes);
    return {ram.value + UNDERSTUDY_LAYER_BYTES + table};
}

Bytes boot_bytes(const LoadedLinux& linux) {
    const std::uint64_t ram = linux.config.memory.value;
    return {lay_out(linux, ram).end + whole_memory({ram}).value - ram};
}

LinuxPlaces places_of(const LoadedLinux& linux) {
    return {linux.config.memory.value, physical_of(linux.kernel.find("understudy_control").value())};
}

LoadedLinux load_linux(const LinuxConfig& config) {
    if (!config.image.empty()) {
        check_disk_image(config.image, config.initrd.empty() ? DiskUse::root : DiskUse::any);
    }
    LoadedLinux linux{config, read_kernel(config.kernel), read_elf(config.layer), {}};
    linux.initrd = config.initrd.empty() ? make_initrd(config) : read_file(config.initrd, "initial file system");
    check_kernel(linux.kernel);
    check_layer(linux.layer);
    if (config.memory.value % x86::kLargePageBytes != 0 || config.memory.value > kMaxRam) {
        throw Error::format("guest memory must be a multiple of 2 MiB and at most {} GiB", kMaxRam >> 30);
    }
    const std::uint64_t end = lay_out(linux, config.memory.value).end;
    if (end > kKernelMapBytes) {
        throw Error::format("the initial file system of {} MiB is {} MiB too large: Linux starts within {} MiB",
                            linux.initrd.size() >> 20, (end - kKernelMapBytes + (1U << 20) - 1) >> 20,
                            kKernelMapBytes >> 20);
    }
    if (const std::uint64_t least = least_memory(linux); config.memory.value < least) {
        throw Error::format(
            "{} MiB of guest memory is too small for this kernel and its initial file system; give it "
            "--memory {}M or more",
            config.memory.value >> 20, least >> 20);
    }
    if (command_line(config).size() >= sizeof(start_info_t::cmd_line)) {
        throw Error::format("the kernel's command line is longer than {} characters",
                            sizeof(start_info_t::cmd_line) - 1);
    }
    return linux;
}

engine::BootState linux_boot_state(std::uint64_t syscall_stub) {
    constexpr std::uint64_t kTables = UNDERSTUDY_LAYER_ADDRESS + UNDERSTUDY_TABLES_OFFSET;
    engine::BootState boot;
    boot.gdt = kTables + kGdt;
    boot.gdt_size = kGdtEntries * 8 - 1;
    boot.idt = kTables + kIdt;
    boot.idt_size = 256 * 16 - 1;
    boot.tss = kTables + kTss;
    boot.tss_selector = kTssSelector;
    boot.tss_size = x86::kTssBytes - 1;
    boot.syscall_stub = syscall_stub;
    boot.syscall_stub_selector = kStubSelector;
    boot.code_selector = kCodeSelector;
    boot.data_selector = kDataSelector;
    boot.traps_counter = true;
    boot.registers.rflags = engine::kInitialRflags;
    return boot;
}

engine::BootState write_linux_image(const LoadedLinux& linux, GuestMemory& memory) {
    return Writer(linux, memory).write();
}

}  // namespace understudy::machine
