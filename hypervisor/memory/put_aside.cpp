#include "hypervisor/memory/put_aside.hpp"

#include <sys/mman.h>

#include <algorithm>

#include "hypervisor/memory/headroom.hpp"

namespace understudy::memory {
namespace {

// The host is asked again whenever so much more was taken, and left with so much.
constexpr std::size_t kAskEvery = (std::size_t{16} << 20U) / PutAside::kBlock;
constexpr Bytes kLeave = 64_MiB;

bool host_has_more() {
    const auto left = memory_headroom();
    return !left || *left > kLeave;
}

}  // namespace

PutAside::PutAside(Bytes most, Bytes useful) {
    const std::size_t bytes = std::min(most.value, useful.value) / kBlock * kBlock;
    if (bytes == 0) {
        return;
    }
    memory_ = Mapping::anonymous(bytes);
    if (memory_) {
        ::madvise(memory_.data(), memory_.size(), MADV_NOHUGEPAGE);  // each block costs the same, and little
        blocks_ = bytes / kBlock;
    }
}

bool PutAside::prepare_one(std::size_t reserve) {
    if (prepared_ == blocks_ || prepared_ - begun_ + free_.size() >= reserve) {
        return false;
    }
    if (prepared_ % kAskEvery == 0 && !host_has_more()) {
        blocks_ = prepared_;
        return false;
    }
    ::madvise(memory_.data() + prepared_ * kBlock, kBlock, MADV_POPULATE_WRITE);
    ++prepared_;
    return true;
}

std::optional<std::uint32_t> PutAside::take() {
    std::optional<std::uint32_t> block;
    if (!free_.empty()) {
        block = free_.back();
        free_.pop_back();
    } else if (begun_ < prepared_ || prepare_one(1)) {
        block = static_cast<std::uint32_t>(begun_++);
    }
    if (block) {
        peak_ = std::max(peak_, ++taken_);
    }
    return block;
}

void PutAside::give_back(std::uint32_t block) {
    free_.push_back(block);
    --taken_;
}

std::span<std::byte> PutAside::bytes(std::uint32_t block) const {
    return memory_.bytes().subspan(block * kBlock, kBlock);
}

}  // namespace understudy::memory
