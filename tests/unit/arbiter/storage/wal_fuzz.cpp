#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

#include "arbiter/storage/storage.hpp"
#include "arbiter/storage/wal.hpp"

// A log segment. The log that comes out is one that the Raft node takes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace understudy;
    using namespace understudy::arbiter;
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
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
    return 0;
}
