// Room for what a snapshot puts aside: blocks of one size in memory that was touched before it is needed, and never
// more than a budget of it. Beyond that it is the snapshot that is given up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/mapping.hpp"
#include "common/units.hpp"

namespace understudy::memory {

// Not thread-safe.
class PutAside {
  public:
    static constexpr std::size_t kBlock = std::size_t{64} << 10U;

    // `most` is the budget; of that no more than `useful` will ever be asked for.
    PutAside(Bytes most, Bytes useful);

    // A block of kBlock bytes; nothing beyond the budget, or when the host has no memory to spare any more.
    [[nodiscard]] std::optional<std::uint32_t> take();
    void give_back(std::uint32_t block);
    [[nodiscard]] std::span<std::byte> bytes(std::uint32_t block) const;

    // Touches one more block ahead of its use. False: there are `reserve` of them, or the budget is reached.
    bool prepare_one(std::size_t reserve);

    // At the same time, at the most, up to now.
    [[nodiscard]] Bytes peak() const { return {peak_ * kBlock}; }

  private:
    Mapping memory_;
    std::size_t blocks_ = 0;    // that the budget allows
    std::size_t prepared_ = 0;  // touched
    std::size_t begun_ = 0;     // taken at least once
    std::size_t taken_ = 0;
    std::size_t peak_ = 0;
    std::vector<std::uint32_t> free_;
};

}  // namespace understudy::memory
