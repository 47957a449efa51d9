// The protocol between a replica and the gateway, over a stream socket. Integers are little-endian.
//
//   every message   offset 0   u16  bytes in the body, at most 1514
//                          2   u8   kind
//                          3   u8   0
//                          4        the body
//
//   1 hello         body   0   8    "UNDRSTNW"                    replica -> gateway: the first message; repeated when
//                          8   u16  version, 2                    the replica's rank rises
//                         10   u8   1 when the test-and-set of this generation was won, else 0
//                         11   u8   bytes in the VM's name, 1 to 128
//                         12   u64  generation
//                         20   6    the guest's MAC address
//                         26        the VM's name, printable ASCII
//   2 welcome       body empty      gateway -> replica: this replica is the guest's voice now
//   3 refused       body text       gateway -> replica, then the gateway closes: the hello was not accepted, and why
//   4 deposed       body text       gateway -> replica, then the gateway closes: a replica of higher rank has come
//   5 frame         body            an Ethernet frame without FCS, 14 to 1514 bytes, either way
//   6 standby       body as of 1    replica -> gateway: this connection waits for its hello, which may never come; the
//                                   generation means nothing
//
// A sender puts as many messages into one write as it has. Whatever breaks this grammar ends the connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/ethernet.hpp"
#include "common/units.hpp"

namespace understudy::network {

constexpr std::uint16_t kGatewayProtocolVersion = 2;
constexpr std::size_t kMessageHeaderSize = 4;
constexpr std::size_t kMaxVmNameSize = 128;
constexpr std::size_t kMaxTextSize = 512;

enum class MessageKind : std::uint8_t { hello = 1, welcome = 2, refused = 3, deposed = 4, frame = 5, standby = 6 };

struct Hello {
    VmId vm;
    SpeakerRank rank;
    MacAddress mac{};

    bool operator==(const Hello&) const = default;
};

// Encoders append one message to `out`. A frame of a size that the protocol does not carry is a caller's error.
void append_hello(std::vector<std::byte>& out, const Hello& hello, MessageKind kind = MessageKind::hello);  // 1 and 6
void append_notice(std::vector<std::byte>& out, MessageKind kind, std::string_view text);  // 2, 3 and 4; cut to size
void append_frame(std::vector<std::byte>& out, std::span<const std::byte> frame);

// The hello in a body of 1 or 6, or nothing and the reason why there is none.
[[nodiscard]] std::optional<Hello> decode_hello(std::span<const std::byte> body, std::string& reason);

// Cuts a byte stream into messages, in place. Read from the socket into space(), tell committed() how much, then take
// messages with next() until it needs more. Bodies point into the decoder's buffer until the next call of space().
class MessageDecoder {
  public:
    enum class Status { message, need_more, malformed };
    struct Result {
        Status status = Status::need_more;
        MessageKind kind = MessageKind::hello;
        std::span<const std::byte> body{};
        std::string_view reason{};  // of malformed, for the log
    };

    // `capacity` bounds what is read at once; at least one message fits in any case.
    explicit MessageDecoder(std::size_t capacity);
    void widen(std::size_t capacity);

    [[nodiscard]] std::span<std::byte> space();
    void committed(std::size_t bytes);
    // A stream that was malformed once stays so.
    [[nodiscard]] Result next();

  private:
    std::vector<std::byte> buffer_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::string_view broken_{};
};

}  // namespace understudy::network
