// What guest memory was at each stop, as digests: enough to say where a replay first differs, to 64 bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/units.hpp"

namespace understudy::tools {

constexpr std::size_t kTrailPageBytes = 4096;
constexpr std::size_t kTrailLineBytes = 64;
using LineDigests = std::array<std::uint32_t, kTrailPageBytes / kTrailLineBytes>;

// A page, by number, that is not what it was at the stop looked at before.
struct ChangedPage {
    std::uint64_t page = 0;
    std::uint64_t digest = 0;
    std::optional<LineDigests> lines;
};

// The pages of one memory as they were when they were looked at last.
class PageDigests {
  public:
    // What has changed since, or, the first time, is not zero.
    [[nodiscard]] std::vector<ChangedPage> look(std::span<const std::byte> memory);

  private:
    std::vector<std::uint64_t> digests_;
};

[[nodiscard]] LineDigests line_digests(std::span<const std::byte> page);

// The stops of one recording. Lines are kept while there is room (512 MiB); after that a page is named as a whole.
class MemoryTrail {
  public:
    void add(StopNumber stop, std::vector<ChangedPage> changes);
    // Null where the recording did not look.
    [[nodiscard]] const std::vector<ChangedPage>* at(StopNumber stop) const;

  private:
    std::map<std::uint64_t, std::vector<ChangedPage>> stops_;
    std::size_t pages_ = 0;
};

// A page that is not what it was in the recording.
struct PageDifference {
    std::uint64_t page = 0;
    bool only_one_changed = false;   // in this interval: recording or replay left it as it was
    std::vector<std::size_t> lines;  // offsets in the page; empty: not known
};

// Of two memories that were equal at the stop before.
[[nodiscard]] std::vector<PageDifference> differences(const std::vector<ChangedPage>& recorded,
                                                      const std::vector<ChangedPage>& replayed);

}  // namespace understudy::tools
