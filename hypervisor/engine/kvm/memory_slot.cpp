#include "hypervisor/engine/kvm/memory_slot.hpp"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "common/error.hpp"
#include "common/units.hpp"

namespace understudy::engine {
namespace {

constexpr std::size_t kPagesInWord = 64;

}  // namespace

MemorySlot::MemorySlot(int vm, std::span<std::byte> memory)
    : vm_(vm), memory_(memory), bitmap_((memory.size() / kPageBytes + kPagesInWord - 1) / kPagesInWord) {
    set(memory.size());
}

void MemorySlot::set(std::size_t size) {
    kvm_userspace_memory_region slot{};
    slot.flags = tracked_ ? KVM_MEM_LOG_DIRTY_PAGES : 0;
    slot.memory_size = size;
    slot.userspace_addr = reinterpret_cast<std::uint64_t>(memory_.data());
    if (::ioctl(vm_, KVM_SET_USER_MEMORY_REGION, &slot) != 0) {
        throw Error::from_errno("KVM refuses the guest's memory", errno);
    }
}

// Protecting by hand: to read the log changes nothing, so what is read and what is protected again are the same pages.
bool MemorySlot::track_writes(bool on) {
    if (on == tracked_) {
        return true;
    }
    if (on) {
        kvm_enable_cap manual{};
        manual.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2;
        manual.args[0] = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
        if (::ioctl(vm_, KVM_ENABLE_CAP, &manual) != 0) {
            return false;
        }
    }
    tracked_ = on;
    set(memory_.size());
    return true;
}

std::vector<std::uint64_t> MemorySlot::written_pages() {
    kvm_dirty_log log{};
    log.dirty_bitmap = bitmap_.data();
    if (::ioctl(vm_, KVM_GET_DIRTY_LOG, &log) != 0) {
        throw Error::from_errno("KVM does not tell which pages the guest wrote", errno);
    }
    std::vector<std::uint64_t> pages;
    for (std::size_t word = 0; word < bitmap_.size(); ++word) {
        for (std::uint64_t bits = bitmap_[word]; bits != 0; bits &= bits - 1) {
            pages.push_back(word * kPagesInWord + static_cast<unsigned>(std::countr_zero(bits)));
        }
    }
    return pages;
}

void MemorySlot::forget_writes(std::span<const std::uint64_t> pages) {
    std::ranges::fill(bitmap_, 0);
    for (const std::uint64_t page : pages) {
        bitmap_.at(page / kPagesInWord) |= std::uint64_t{1} << page % kPagesInWord;
    }
    kvm_clear_dirty_log log{};
    log.num_pages = static_cast<std::uint32_t>(memory_.size() / kPageBytes);
    log.dirty_bitmap = bitmap_.data();
    if (::ioctl(vm_, KVM_CLEAR_DIRTY_LOG, &log) != 0) {
        throw Error::from_errno("KVM does not protect the guest's pages again", errno);
    }
}

void MemorySlot::recreate() {
    set(0);
    set(memory_.size());
}

}  // namespace understudy::engine
