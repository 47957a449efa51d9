#include "tools/torture/places.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "guest/abi/paravirtual.h"

namespace understudy::tools {
namespace {

constexpr std::uint64_t kKernelImage = 0xffffffff80000000;  // physical address 0

std::string nearest(const machine::ElfImage& image, std::uint64_t address) {
    const machine::Symbol* found = nullptr;
    for (const machine::Symbol& symbol : image.symbols) {
        if (symbol.address <= address && (found == nullptr || symbol.address > found->address)) {
            found = &symbol;
        }
    }
    return found == nullptr ? fmt::format("{:#x}", address)
                            : fmt::format("{}+{:#x}", image.name_of(*found), address - found->address);
}

}  // namespace

Places::Places(machine::LoadedLinux linux) : linux_(std::move(linux)), ram_(machine::places_of(linux_).ram) {}

std::string Places::describe(std::uint64_t physical) const {
    if (physical >= ram_ + UNDERSTUDY_LAYER_BYTES) {
        return "the machine-to-physical table";
    }
    if (physical >= ram_) {
        return "the layer's " + nearest(linux_.layer, UNDERSTUDY_LAYER_ADDRESS + (physical - ram_));
    }
    const std::uint64_t address = kKernelImage + physical;
    if (address >= linux_.kernel.lowest() && address < linux_.kernel.highest()) {
        return "the kernel's " + nearest(linux_.kernel, address);
    }
    return "RAM";
}

std::string hexadecimal(std::span<const std::byte> bytes) {
    constexpr std::size_t kLine = 16;
    std::string text;
    for (std::size_t at = 0; at < bytes.size(); at += kLine) {
        text += fmt::format("      {:02x}\n", fmt::join(bytes.subspan(at, kLine), " "));
    }
    return text;
}

}  // namespace understudy::tools
