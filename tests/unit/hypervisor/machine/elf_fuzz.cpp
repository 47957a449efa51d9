// Any bytes as an executable: each of the files that a guest starts from. What reads it says what is wrong with it, or
// a guest's memory can be laid out from it; it crashes nothing, and takes no more memory than the file is large.
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "common/error.hpp"
#include "hypervisor/machine/boot_image.hpp"
#include "hypervisor/machine/code/hints.hpp"
#include "hypervisor/machine/linux_image.hpp"
#include "tests/unit/hypervisor/machine/elf_file.hpp"

namespace {

using namespace understudy;
using namespace understudy::machine;

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

// A file without a folder.
class MemoryFile {
  public:
    explicit MemoryFile(std::string_view content) : file_(::memfd_create("elf", MFD_CLOEXEC)) { write(content); }
    void write(std::string_view content) const {
        require(::ftruncate(file_, 0) == 0 &&
                ::pwrite(file_, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()));
    }
    [[nodiscard]] std::string path() const { return fmt::format("/proc/self/fd/{}", file_); }

  private:
    int file_;
};

// Whatever is asked for when a guest starts; an error is the expected end of most inputs.
template <typename Start>
void start(Start start) {
    try {
        start();
    } catch (const Error& error) {
        require(!std::string_view(error.what()).empty());
    }
}

void look_at(const ElfImage& image, std::size_t file_size) {
    std::size_t loaded = 0;
    for (const Segment& segment : image.segments) {
        loaded += segment.bytes.size();
        require(segment.bytes.size() <= segment.memory_size);
        require(image.lowest() <= segment.address && segment.address + segment.memory_size <= image.highest());
    }
    require(loaded <= file_size && image.symbol_names.size() <= file_size + 1);
    for (const Symbol& symbol : image.symbols) {
        require(!image.name_of(symbol).empty());
    }
    static_cast<void>(image.find("_start"));
    static_cast<void>(image.describe(image.entry));
    static_cast<void>(code_hints(image, 0));
}

// Memory is one guest's after another: to map it takes longer than all else.
void start_small(const std::string& kernel, const std::string& program) {
    VmConfig config;
    config.memory = 16_MiB;
    config.kernel = kernel;
    config.program = program;
    const LoadedVm vm = load_vm(config);
    static GuestMemory memory(config.memory, GuestMemory::Population::later);
    static_cast<void>(write_boot_image(vm, memory));
}

void start_linux(const std::string& kernel, const std::string& layer, const std::string& initrd) {
    LinuxConfig config;
    config.memory = 64_MiB;
    config.kernel = kernel;
    config.layer = layer;
    config.initrd = initrd;
    const LoadedLinux linux = load_linux(config);
    static GuestMemory memory(whole_memory(config.memory), GuestMemory::Population::later);
    static_cast<void>(write_linux_image(linux, memory));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const MemoryFile fuzzed("");
    static const MemoryFile small_kernel(
        elf_file(abi::kKernelBase, std::string(64, '\xc3'), {{"understudy_vectors", abi::kKernelBase}}));
    static const MemoryFile program(elf_file(abi::kProgramBase, std::string(64, '\xc3'), {}));
    static const MemoryFile kernel(kernel_file());
    static const MemoryFile layer(layer_file(UNDERSTUDY_PV_VERSION));
    static const MemoryFile initrd("initrd");
    fuzzed.write({reinterpret_cast<const char*>(data), size});
    std::uint64_t lowest = 0;
    start([&] {
        const ElfImage image = read_elf(fuzzed.path());
        look_at(image, size);
        lowest = image.lowest();
        start([&] { start_small(fuzzed.path(), program.path()); });
        start([&] { start_small(small_kernel.path(), fuzzed.path()); });
    });
    if (lowest >= UNDERSTUDY_LAYER_ADDRESS) {
        start([&] { start_linux(fuzzed.path(), layer.path(), initrd.path()); });
        start([&] { start_linux(kernel.path(), fuzzed.path(), initrd.path()); });
    }
    return 0;
}
