// Scattered pages of guest memory as bytes: what a record carries of an interval that was copied (Delta).
//
// A program that is interrupted over and over writes the same pages over and over, mostly with what they held before.
// So both sides keep the pages that went last, and a page that is like its forerunner goes as the difference (XOR).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/execution.hpp"
#include "common/units.hpp"

namespace understudy::channel {

// In one EncodedPages: 1 MiB.
constexpr std::size_t kMaxEncodedPages = 256;

// Of each page that went, what it held then: the same on both sides, because it depends on what went before alone.
// 64 MiB once something was kept, of which what is used is in memory.
class KnownPages {
  public:
    // kPageBytes; empty: not known, or not any more.
    [[nodiscard]] std::span<const std::byte> find(std::uint64_t number) const;
    void keep(std::uint64_t number, std::span<const std::byte> content);

  private:
    static constexpr std::size_t kPlaces = 16384;  // each for every kPlaces-th page
    static std::size_t place_of(std::uint64_t number) { return number % kPlaces; }

    std::vector<std::uint64_t> next_numbers_;  // 1 + the page's number; 0: none
    std::unique_ptr<std::byte[]> contents_;
};

// Encodes the pages of one log, in their order.
class PageEncoder {
  public:
    // `content` is one page for each number, or none: they are zero. One zstd frame over all of them at a fast level, where that makes them
    // smaller. Aborts on more pages than kMaxEncodedPages.
    [[nodiscard]] EncodedPages encode(std::vector<std::uint64_t> numbers, std::vector<std::byte> content);

  private:
    KnownPages known_;
};

// Decodes all pages of one log, in their order.
class PageDecoder {
  public:
    // The pages' content, a page for each number, or none; nothing where the bytes are no such pages: whatever comes behind them
    // is worth nothing then.
    [[nodiscard]] std::optional<std::vector<std::byte>> decode(const EncodedPages& pages);

  private:
    KnownPages known_;
};

}  // namespace understudy::channel
