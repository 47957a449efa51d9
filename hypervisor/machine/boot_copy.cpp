#include "hypervisor/machine/boot_copy.hpp"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/digest.hpp"
#include "hypervisor/engine/x86.hpp"

namespace understudy::machine {
namespace {

using memory::GuestMemory;

// The copy: how many pages, the number of each, and from the next page on what they hold.
constexpr std::size_t kWord = sizeof(std::uint64_t);

std::size_t head_bytes(std::uint64_t pages) {
    return ((pages + 1) * kWord + kPageBytes - 1) / kPageBytes * kPageBytes;
}

// The whole copy; nothing where its head makes no sense.
std::optional<std::span<const std::byte>> copy_at(GuestMemory& memory, std::uint64_t at) {
    const auto room = std::as_const(memory).all().subspan(at);
    const auto pages = memory.read<std::uint64_t>({at});
    if (!pages || *pages > room.size() / kPageBytes || head_bytes(*pages) + *pages * kPageBytes > room.size()) {
        return std::nullopt;
    }
    return room.first(head_bytes(*pages) + *pages * kPageBytes);
}

}  // namespace

Bytes boot_copy_bytes(const LoadedLinux& linux) {
    const std::uint64_t below = boot_bytes(linux).value;
    const std::uint64_t most = below + head_bytes(below / kPageBytes + 1) + kPageBytes;
    return {(most + x86::kLargePageBytes - 1) / x86::kLargePageBytes * x86::kLargePageBytes};
}

std::uint64_t keep_boot_copy(GuestMemory& memory, std::uint64_t at) {
    std::vector<std::uint64_t> pages;
    for (std::uint64_t page = 0; page < at / kPageBytes; ++page) {
        if (!memory::is_zero(memory.all().subspan(page * kPageBytes, kPageBytes))) {
            pages.push_back(page);
        }
    }
    memory.at<std::uint64_t>({at}) = pages.size();
    const std::uint64_t contents = at + head_bytes(pages.size());
    for (std::size_t i = 0; i < pages.size(); ++i) {
        memory.at<std::uint64_t>({at + (i + 1) * kWord}) = pages[i];
        std::ranges::copy(memory.all().subspan(pages[i] * kPageBytes, kPageBytes),
                          memory.all().subspan(contents + i * kPageBytes).begin());
    }
    return digest(copy_at(memory, at).value());
}

bool restore_boot_copy(GuestMemory& memory, std::uint64_t at, std::uint64_t expected) {
    const auto copy = copy_at(memory, at);
    if (!copy || digest(*copy) != expected) {
        return false;
    }
    std::vector<std::uint64_t> pages(*memory.read<std::uint64_t>({at}));
    std::ranges::copy(copy->subspan(kWord, pages.size() * kWord), std::as_writable_bytes(std::span(pages)).begin());
    if (std::ranges::any_of(pages, [&](std::uint64_t page) { return page >= at / kPageBytes; })) {
        return false;
    }
    memory.discard({0}, at);
    for (std::size_t i = 0; i < pages.size(); ++i) {
        std::ranges::copy(copy->subspan(head_bytes(pages.size()) + i * kPageBytes, kPageBytes),
                          memory.all().subspan(pages[i] * kPageBytes).begin());
    }
    return true;
}

}  // namespace understudy::machine
