// Any bytes as the stream of a replica: messages whatever the cuts, hellos, frames, the TCP in them.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "hypervisor/gateway/packet.hpp"
#include "hypervisor/gateway/protocol.hpp"

namespace {

using namespace understudy::network;

// A digest of what was decoded, to compare two ways of cutting the same stream.
std::vector<std::byte> decode(std::span<const std::byte> stream, std::size_t cut) {
    std::vector<std::byte> seen;
    MessageDecoder decoder(1);
    while (!stream.empty()) {
        const auto space = decoder.space();
        const auto part = stream.first(std::min({space.size(), stream.size(), cut}));
        std::ranges::copy(part, space.begin());
        decoder.committed(part.size());
        stream = stream.subspan(part.size());
        for (auto next = decoder.next(); next.status != MessageDecoder::Status::need_more; next = decoder.next()) {
            if (next.status == MessageDecoder::Status::malformed) {
                seen.push_back(std::byte{0xff});
                return seen;
            }
            seen.push_back(static_cast<std::byte>(next.kind));
            seen.insert(seen.end(), next.body.begin(), next.body.end());
        }
    }
    return seen;
}

void check_hello(std::span<const std::byte> body) {
    std::string reason;
    const auto hello = decode_hello(body, reason);
    if (!hello) {
        if (reason.empty()) {
            std::abort();
        }
        return;
    }
    // What was accepted can be said again, in the same bytes.
    std::vector<std::byte> again;
    append_hello(again, *hello);
    if (!std::ranges::equal(std::span(again).subspan(kMessageHeaderSize), body)) {
        std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
    if (decode(bytes, 7) != decode(bytes, 4096)) {
        std::abort();
    }
    check_hello(bytes);
    if (bytes.size() > kMessageHeaderSize) {
        check_hello(bytes.subspan(kMessageHeaderSize));
    }
    if (const auto segment = parse_tcp(bytes); segment && size < understudy::kMinFrameBytes) {
        std::abort();
    }
    return 0;
}
