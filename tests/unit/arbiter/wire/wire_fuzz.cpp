#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "arbiter/wire/protocol.hpp"

// The bytes of one message. What can be decoded encodes to the same bytes: nothing was misread, nothing ignored.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace understudy::arbiter;
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    const auto message = decode_message(bytes);
    if (message && encode_message(*message) != bytes) {
        std::abort();
    }
    return 0;
}
