#include "tests/fuzz/arbiter/targets.hpp"

#include <cstdlib>

#include "arbiter/protocol.hpp"
#include "arbiter/storage/storage.hpp"
#include "arbiter/storage/wal.hpp"

namespace understudy::arbiter::fuzz {

// What can be decoded encodes to the same bytes: nothing was misread, nothing ignored.
void wire(std::string_view bytes) {
    const auto frame = decode_payload(bytes);
    if (frame && std::string_view(encode_frame(*frame)).substr(kFrameHeader) != bytes) {
        std::abort();
    }
    static_cast<void>(decode_header(bytes.substr(0, kFrameHeader), kMaxFrame));
}

// The log that comes out is one that the Raft node takes.
void wal(std::string_view bytes) {
    WalContents contents;
    const auto scan = scan_segment(bytes, 1, std::nullopt, true, contents);
    if (scan.offset > bytes.size()) {
        std::abort();
    }
    if (scan.end != SegmentScan::End::damaged) {
        const raft::Log log(contents.base_index, contents.base_term, std::move(contents.entries));  // aborts on a gap
        static_cast<void>(log.last_index());
    }
    static_cast<void>(decode_snapshot(bytes));
}

}  // namespace understudy::arbiter::fuzz
