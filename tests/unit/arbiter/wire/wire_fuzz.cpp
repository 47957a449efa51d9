#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "arbiter/wire/protocol.hpp"

// A frame's payload. What can be decoded encodes to the same bytes: nothing was misread, nothing ignored.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace understudy::arbiter;
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    const auto frame = decode_payload(bytes);
    if (frame && std::string_view(encode_frame(*frame)).substr(kFrameHeader) != bytes) {
        std::abort();
    }
    static_cast<void>(decode_header(bytes.substr(0, kFrameHeader), kMaxFrame));
    return 0;
}
