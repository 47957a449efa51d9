#include "arbiter/storage/wal.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "arbiter/mutation.hpp"
#include "common/codec.hpp"
#include "common/digest.hpp"
#include "common/error.hpp"

namespace understudy::arbiter {
namespace {

constexpr std::string_view kSegmentMagic = "USTWAL01";
constexpr std::string_view kBatchMagic = "WALB";
constexpr std::size_t kSegmentHeader = 32;
constexpr std::size_t kBatchHeader = 24;
constexpr std::size_t kItemHeader = 9;
constexpr std::size_t kAlignment = 8;
constexpr std::size_t kMaxBatch = std::size_t{512} << 20U;

enum class ItemKind : std::uint8_t { base = 1, hard_state = 2, entry = 3, reset = 4 };

std::size_t aligned(std::size_t size) {
    return (size + kAlignment - 1) / kAlignment * kAlignment;
}

std::string segment_name(std::uint64_t number) {
    return fmt::format("wal-{:016x}", number);
}

std::optional<std::uint64_t> segment_number(const std::string& name) {
    if (name.size() != 20 || !name.starts_with("wal-") ||
        name.find_first_not_of("0123456789abcdef", 4) != std::string::npos) {
        return std::nullopt;
    }
    return std::stoull(name.substr(4), nullptr, 16);
}

void put_item(std::string& out, ItemKind kind, std::string_view body) {
    std::string checked(1, static_cast<char>(kind));
    checked.append(body);
    Encoder(out).u8(static_cast<std::uint8_t>(kind)).u32(static_cast<std::uint32_t>(body.size()));
    Encoder(out).u32(checksum(as_bytes(checked)));
    out.append(body);
}

std::string pair(std::uint64_t a, std::uint64_t b) {
    std::string body;
    Encoder(body).u64(a).u64(b);
    return body;
}

struct BatchHeader {
    std::size_t length = 0;
    std::uint64_t number = 0;
    std::uint32_t items = 0;
};

std::optional<BatchHeader> read_batch_header(std::string_view bytes) {
    if (bytes.size() < kBatchHeader || !bytes.starts_with(kBatchMagic)) {
        return std::nullopt;
    }
    Decoder decoder(bytes.substr(4, kBatchHeader - 4));
    BatchHeader header;
    header.length = decoder.u32();
    header.number = decoder.u64();
    header.items = decoder.u32();
    if (decoder.u32() != checksum(as_bytes(bytes.substr(0, kBatchHeader - 4))) || header.length > kMaxBatch) {
        return std::nullopt;
    }
    return header;
}

// Applies one item to the contents; false if it does not fit what came before.
bool apply_item(ItemKind kind, std::string_view body, bool first_of_all, WalContents& contents) {
    Decoder decoder(body);
    const auto a = decoder.u64();
    const auto b = decoder.u64();
    auto& entries = contents.entries;
    const auto last_index = contents.base_index + entries.size();
    switch (kind) {
        case ItemKind::base:
            if (!decoder.finished()) {
                return false;
            }
            if (first_of_all) {
                contents.base_index = a;
                contents.base_term = b;
                return true;
            }
            return a == last_index && b == (entries.empty() ? contents.base_term : entries.back().term);
        case ItemKind::hard_state:
            if (!decoder.finished() || a < contents.hard_state.term) {
                return false;
            }
            contents.hard_state = {a, b};
            return true;
        case ItemKind::entry: {
            const auto entry_kind = decoder.u8();
            if (!decoder.ok() || !raft::is_entry_kind(entry_kind) || a <= contents.base_index || a > last_index + 1) {
                return false;
            }
            entries.resize(a - contents.base_index - 1);
            if (b < (entries.empty() ? contents.base_term : entries.back().term)) {
                return false;
            }
            entries.push_back({a, b, static_cast<raft::EntryKind>(entry_kind), std::string(body.substr(17))});
            return true;
        }
        case ItemKind::reset:
            if (!decoder.finished()) {
                return false;
            }
            entries.clear();
            contents.base_index = a;
            contents.base_term = b;
            return true;
    }
    return false;
}

struct Item {
    ItemKind kind = ItemKind::base;
    std::string_view body;
};

// The items of one batch, or nothing if any of them is not whole.
std::optional<std::vector<Item>> read_items(std::string_view bytes, std::uint32_t count) {
    std::vector<Item> items;
    std::string checked;
    while (!bytes.empty()) {
        if (bytes.size() < kItemHeader || items.size() == count) {
            return std::nullopt;
        }
        Decoder decoder(bytes.substr(0, kItemHeader));
        const auto kind = decoder.u8();
        const std::size_t length = decoder.u32();
        const auto sum = decoder.u32();
        if (length > bytes.size() - kItemHeader || kind < 1 || kind > 4) {
            return std::nullopt;
        }
        checked.assign(1, static_cast<char>(kind));
        checked.append(bytes.substr(kItemHeader, length));
        if (checksum(as_bytes(checked)) != sum) {
            return std::nullopt;
        }
        items.push_back({static_cast<ItemKind>(kind), bytes.substr(kItemHeader, length)});
        bytes.remove_prefix(kItemHeader + length);
    }
    if (items.size() != count) {
        return std::nullopt;
    }
    return items;
}

// Is there a batch newer than `batch` anywhere behind `offset`? Then what is at `offset` was durable once.
bool later_batch_follows(std::string_view bytes, std::size_t offset, std::uint64_t batch) {
    for (std::size_t at = aligned(offset + 1); at + kBatchHeader <= bytes.size(); at += kAlignment) {
        const auto header = read_batch_header(bytes.substr(at));
        if (header && header->number > batch) {
            return true;
        }
    }
    return false;
}

}  // namespace

SegmentScan scan_segment(std::string_view bytes, std::uint64_t number, std::optional<std::uint64_t> expected_batch,
                         bool first, WalContents& contents) {
    SegmentScan scan;
    const auto stop = [&](SegmentScan::End end, std::string problem) {
        scan.end = end;
        scan.problem = std::move(problem);
        return scan;
    };
    if (bytes.size() < kSegmentHeader) {
        return stop(SegmentScan::End::torn, "the segment's header is not whole");
    }
    Decoder decoder(bytes.substr(8, kSegmentHeader - 8));
    const auto found_number = decoder.u64();
    const auto first_batch = decoder.u64();
    decoder.u32();
    if (!bytes.starts_with(kSegmentMagic) || decoder.u32() != checksum(as_bytes(bytes.substr(0, kSegmentHeader - 4)))) {
        const bool used = later_batch_follows(bytes, 0, expected_batch.value_or(1));
        return stop(used ? SegmentScan::End::damaged : SegmentScan::End::torn, "bad segment header");
    }
    if (found_number != number || (expected_batch && first_batch != *expected_batch)) {
        return stop(SegmentScan::End::damaged, "the segment does not follow on the one before");
    }
    scan.offset = kSegmentHeader;
    scan.next_batch = first_batch;
    bool first_item = first;
    while (scan.offset < bytes.size()) {
        const auto header = read_batch_header(bytes.substr(scan.offset));
        const auto space = bytes.size() - scan.offset;
        std::optional<std::vector<Item>> items;
        if (header && header->number == scan.next_batch && header->length <= space - kBatchHeader) {
            items = read_items(bytes.substr(scan.offset + kBatchHeader, header->length), header->items);
        }
        if (!items) {
            const bool later = later_batch_follows(bytes, scan.offset, scan.next_batch);
            return stop(later ? SegmentScan::End::damaged : SegmentScan::End::torn, "bad checksum or length");
        }
        for (const auto& item : *items) {
            if (!apply_item(item.kind, item.body, first_item, contents)) {
                Decoder body(item.body);
                const auto a = body.u64();
                const auto b = body.u64();
                return stop(SegmentScan::End::damaged,
                            fmt::format("an item of kind {} with ({}, {}) contradicts those before it: base {}, {} "
                                        "entries, term {}",
                                        static_cast<int>(item.kind), a, b, contents.base_index, contents.entries.size(),
                                        contents.hard_state.term));
            }
            first_item = false;
            if (item.kind == ItemKind::entry) {
                const auto index = Decoder(item.body).u64();
                scan.lowest = scan.lowest == 0 ? index : std::min(scan.lowest, index);
            }
        }
        scan.offset = std::min<std::uint64_t>(scan.offset + aligned(kBatchHeader + header->length), bytes.size());
        ++scan.next_batch;
    }
    return scan;
}

Wal::Wal(Directory& directory, std::size_t segment_bytes) : directory_(directory), segment_bytes_(segment_bytes) {
    const auto numbers = needed_segments();
    std::optional<std::uint64_t> expected_batch;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const bool last = i + 1 == numbers.size();
        expected_batch = load_segment(numbers[i], expected_batch, i == 0, last);
    }
    next_batch_ = expected_batch.value_or(1);
    hard_state_ = contents_.hard_state;
    last_index_ = contents_.base_index + contents_.entries.size();
    last_term_ = contents_.entries.empty() ? contents_.base_term : contents_.entries.back().term;
    start_segment();  // the old tail is never written again
}

// The numbers of the segments to read, in order; what else there is becomes a leftover.
std::vector<std::uint64_t> Wal::needed_segments() {
    std::vector<std::uint64_t> numbers;
    for (const auto& name : directory_.list()) {
        if (const auto number = segment_number(name)) {
            numbers.push_back(*number);
        }
    }
    // drop_before() removes the newest first. So what stands before a gap is what it had yet to remove; and if a needed
    // segment is gone instead, the log will turn out not to reach the snapshot.
    auto first_needed = numbers.begin();
    for (auto it = numbers.begin(); it != numbers.end(); ++it) {
        if (it != numbers.begin() && *it != *std::prev(it) + 1) {
            first_needed = it;
        }
    }
    leftover_.assign(numbers.begin(), first_needed);
    return {first_needed, numbers.end()};
}

// Reads one segment into the contents. Returns the number that the batch after it has.
std::optional<std::uint64_t> Wal::load_segment(std::uint64_t number, std::optional<std::uint64_t> expected_batch,
                                               bool first, bool last) {
    const auto name = segment_name(number);
    const auto bytes = directory_.read(name);
    Segment segment{number, contents_.base_index + contents_.entries.size(), 0, bytes.size()};
    const auto scan = scan_segment(bytes, number, expected_batch, first, contents_);
    if (scan.end == SegmentScan::End::damaged || (scan.end == SegmentScan::End::torn && !last)) {
        throw Error::format(
            "{} is damaged at offset {} ({}); restore this server's data, or remove it from the cluster and add it "
            "anew with an empty directory",
            directory_.path(name), scan.offset, scan.problem);
    }
    if (first) {
        segment.base_index = contents_.base_index;
    }
    segment.lowest = scan.lowest;
    if (scan.end == SegmentScan::End::torn) {
        torn_bytes_ = bytes.size() - scan.offset;
        if (scan.offset <= kSegmentHeader) {  // the server died while it created the segment
            directory_.remove(name);
            directory_.sync();
            return expected_batch;
        }
        segment.size = scan.offset;
        if (!mutated(Mutation::torn_tail_kept)) {
            write_again(name, std::string_view(bytes).substr(0, scan.offset));
        }
    } else if (last && mutated(Mutation::found_log_only_synced)) {
        directory_.open(name)->sync();
    } else if (last && !mutated(Mutation::found_log_not_synced)) {
        write_again(name, bytes);
    }
    segments_.push_back(segment);
    return scan.next_batch;
}

// The server before may have died between the last write and its sync, or because that sync failed: what is read is in
// the host's memory, and perhaps nowhere else. To sync the file is not enough: after a failed sync Linux takes what it
// could not write for written, and the next sync has nothing to do and succeeds. So the last segment is copied and the
// copy takes its place; those before it were synced before the next was begun.
void Wal::write_again(const std::string& name, std::string_view bytes) {
    const auto partial = name + ".partial";
    {
        const auto file = directory_.open(partial);
        file->truncate(0);
        file->write(0, bytes);
        file->sync();
    }
    directory_.rename(partial, name);
    directory_.sync();
}

WalContents Wal::take_contents() {
    return std::exchange(contents_, {});
}

std::uint64_t Wal::bytes() const {
    std::uint64_t sum = 0;
    for (const auto& segment : segments_) {
        sum += segment.size;
    }
    return sum;
}

// A new segment begins with all that a reader needs who does not see the ones before.
void Wal::start_segment() {
    const std::uint64_t number = segments_.empty() ? 1 : segments_.back().number + 1;
    std::string header(kSegmentMagic);
    Encoder(header).u64(number).u64(next_batch_).u32(0);
    Encoder(header).u32(checksum(as_bytes(header)));
    file_ = directory_.open(segment_name(number));
    file_->truncate(0);
    file_->write(0, header);
    offset_ = header.size();
    segments_.push_back({number, last_index_, 0, offset_});
    std::string items;
    put_item(items, ItemKind::base, pair(last_index_, last_term_));
    put_item(items, ItemKind::hard_state, pair(hard_state_.term, hard_state_.voted_for));
    put_batch(items, 2);
    file_->sync();
    directory_.sync();
}

void Wal::put_batch(const std::string& items, std::uint32_t count) {
    std::string batch(kBatchMagic);
    Encoder(batch).u32(static_cast<std::uint32_t>(items.size())).u64(next_batch_++).u32(count);
    Encoder(batch).u32(checksum(as_bytes(batch)));
    batch += items;
    batch.resize(aligned(batch.size()));
    file_->write(offset_, batch);
    offset_ += batch.size();
    segments_.back().size = offset_;
}

void Wal::append(const raft::Write& write) {
    if (offset_ >= segment_bytes_) {
        start_segment();
    }
    std::string items;
    std::uint32_t count = 0;
    if (write.hard_state) {
        hard_state_ = *write.hard_state;
        put_item(items, ItemKind::hard_state, pair(hard_state_.term, hard_state_.voted_for));
        ++count;
    }
    for (const auto& entry : write.entries) {
        std::string body = pair(entry.index, entry.term);
        body.push_back(static_cast<char>(entry.kind));
        body += entry.data;
        put_item(items, ItemKind::entry, body);
        ++count;
        auto& segment = segments_.back();
        segment.lowest = segment.lowest == 0 ? entry.index : std::min(segment.lowest, entry.index);
        note_last(entry.index, entry.term);
    }
    put_batch(items, count);
}

void Wal::reset(raft::Index index, raft::Term term) {
    std::string items;
    put_item(items, ItemKind::reset, pair(index, term));
    put_batch(items, 1);
    file_->sync();
    note_last(index, term);
    start_segment();  // so that everything before it can go
    drop_before(index);
}

void Wal::sync() {
    if (!mutated(Mutation::no_fsync)) {
        file_->sync();
    }
}

void Wal::drop_before(raft::Index index) {
    // The newest segment from which on the log can be read: its base is not behind `index`, and nothing in it or after
    // it replaced an entry at or before its base.
    std::size_t keep = 0;
    raft::Index lowest = ~raft::Index{0};
    for (std::size_t i = segments_.size(); i-- > 0;) {
        if (segments_[i].lowest != 0) {
            lowest = std::min(lowest, segments_[i].lowest);
        }
        if (segments_[i].base_index <= index && lowest > segments_[i].base_index) {
            keep = i;
            break;
        }
    }
    // Newest first, one by one: whenever the server dies, what it still needs follows on the last gap. (Oldest first,
    // an old segment could come to be read as the first one that replaces entries from before its base.)
    for (std::size_t i = keep; i-- > 0;) {
        directory_.remove(segment_name(segments_[i].number));
        directory_.sync();
    }
    for (const auto number : std::exchange(leftover_, {})) {
        directory_.remove(segment_name(number));
    }
    segments_.erase(segments_.begin(), segments_.begin() + static_cast<std::ptrdiff_t>(keep));
}

void Wal::note_last(raft::Index index, raft::Term term) {
    last_index_ = index;
    last_term_ = term;
}

}  // namespace understudy::arbiter
