// Any bytes as a frame of a guest with what its header asks for. What comes out fits the wire, is no more than bounded,
// bears right checksums, and holds the payload that went in.
#include <cstdint>
#include <cstdlib>

#include "tests/unit/hypervisor/network/packets.hpp"

namespace {

using namespace understudy;
using namespace understudy::network;

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

// The checksum's place as the header says it, its pseudo header left out: a sum that holds is all that can be said.
void check_segments(const OffloadHeader& header, std::span<const std::byte> whole, const std::vector<Frame>& frames) {
    std::vector<std::byte> stream;
    for (const Frame& frame : frames) {
        require(frame.size() >= header.header_bytes);
        const std::span<const std::byte> all = frame;
        const bool ipv6 = header.gso == GsoType::tcp_ipv6;
        const std::size_t network = testing::get16(all, 12) == (ipv6 ? 0x86dd : 0x0800)   ? 14
                                    : testing::get16(all, 16) == (ipv6 ? 0x86dd : 0x0800) ? 18
                                                                                          : 22;
        const auto addresses = ipv6 ? all.subspan(network + 8, 32) : all.subspan(network + 12, 8);
        const auto tcp = all.subspan(header.checksum_start);
        require(testing::naive_sum(tcp, testing::naive_sum(addresses) + 6 + static_cast<unsigned>(tcp.size())) ==
                0xffff);
        stream.insert(stream.end(), frame.begin() + header.header_bytes, frame.end());
    }
    const auto payload = whole.subspan(kOffloadHeaderBytes + header.header_bytes);
    require(std::equal(payload.begin(), payload.end(), stream.begin(), stream.end()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
    const auto header = check_offload(bytes);
    std::vector<Frame> frames;
    complete_offload(bytes, frames);
    require(frames.size() <= kMaxSegments);
    for (const Frame& frame : frames) {
        require(is_wire_frame_size(frame.size()));
    }
    if (!header) {
        require(frames.empty());
        return 0;
    }
    // What was brought into its form stays so.
    Frame again(bytes.begin(), bytes.end());
    write_offload_header(again, *header);
    require(check_offload(again) == header);
    if (header->gso != GsoType::none && !frames.empty()) {
        check_segments(*header, bytes, frames);
    }
    return 0;
}
