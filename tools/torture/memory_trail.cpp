#include "tools/torture/memory_trail.hpp"

#include <utility>

#include "common/digest.hpp"

namespace understudy::tools {
namespace {

constexpr std::size_t kMostPagesWithLines = (std::size_t{512} << 20) / sizeof(ChangedPage);

PageDifference compare(const ChangedPage& recorded, const ChangedPage& replayed) {
    PageDifference difference{recorded.page, false, {}};
    for (std::size_t line = 0; recorded.lines && replayed.lines && line < recorded.lines->size(); ++line) {
        if ((*recorded.lines)[line] != (*replayed.lines)[line]) {
            difference.lines.push_back(line * kTrailLineBytes);
        }
    }
    return difference;
}

}  // namespace

LineDigests line_digests(std::span<const std::byte> page) {
    LineDigests lines{};
    for (std::size_t line = 0; line < lines.size(); ++line) {
        lines[line] = checksum(page.subspan(line * kTrailLineBytes, kTrailLineBytes));
    }
    return lines;
}

std::vector<ChangedPage> PageDigests::look(std::span<const std::byte> memory) {
    const std::size_t pages = memory.size() / kTrailPageBytes;
    if (digests_.empty()) {
        static constexpr std::array<std::byte, kTrailPageBytes> kZero{};
        digests_.assign(pages, digest(kZero));
    }
    std::vector<ChangedPage> changes;
    for (std::size_t page = 0; page < pages; ++page) {
        const auto bytes = memory.subspan(page * kTrailPageBytes, kTrailPageBytes);
        const std::uint64_t now = digest(bytes);
        if (std::exchange(digests_[page], now) != now) {
            changes.push_back({page, now, line_digests(bytes)});
        }
    }
    return changes;
}

void MemoryTrail::add(StopNumber stop, std::vector<ChangedPage> changes) {
    pages_ += changes.size();
    if (pages_ > kMostPagesWithLines) {
        for (ChangedPage& change : changes) {
            change.lines.reset();
        }
    }
    stops_.emplace(stop.value, std::move(changes));
}

const std::vector<ChangedPage>* MemoryTrail::at(StopNumber stop) const {
    const auto found = stops_.find(stop.value);
    return found == stops_.end() ? nullptr : &found->second;
}

std::vector<PageDifference> differences(const std::vector<ChangedPage>& recorded,
                                        const std::vector<ChangedPage>& replayed) {
    std::vector<PageDifference> result;
    auto a = recorded.begin();
    auto b = replayed.begin();
    while (a != recorded.end() || b != replayed.end()) {
        if (b == replayed.end() || (a != recorded.end() && a->page < b->page)) {
            result.push_back({a++->page, true, {}});
        } else if (a == recorded.end() || b->page < a->page) {
            result.push_back({b++->page, true, {}});
        } else {
            if (a->digest != b->digest) {
                result.push_back(compare(*a, *b));
            }
            ++a;
            ++b;
        }
    }
    return result;
}

}  // namespace understudy::tools
