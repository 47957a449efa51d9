// One connection to a server of the Redis protocol, for who has a thread to wait on it.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "common/address.hpp"
#include "common/file_descriptor.hpp"
#include "tools/verifier/reply.hpp"

namespace understudy::tools {

class RedisLink {
  public:
    // Connects. `stopped`, if there is one, outlives the object: once it is true, whatever waits ends with an error.
    // Throws understudy::Error, as every method does: refused, closed by the other side, silent for longer than
    // `patience`, an answer that is none. The connection is of no use then.
    RedisLink(const Address& server, std::chrono::milliseconds patience, const std::atomic<bool>* stopped = nullptr);

    void send(std::string_view bytes);
    [[nodiscard]] Reply receive();
    // Of an answer that may be an array (decode_list).
    [[nodiscard]] std::vector<Reply> receive_list();

  private:
    using Clock = std::chrono::steady_clock;

    void await(short events, Clock::time_point deadline, std::string_view what) const;
    void read_more(Clock::time_point deadline);

    std::string server_;
    std::chrono::milliseconds patience_;
    const std::atomic<bool>* stopped_;
    FileDescriptor socket_;
    std::string received_;
};

// Why this host runs no redis-server of its own: there is none. Empty: it can.
[[nodiscard]] std::string redis_server_missing();

}  // namespace understudy::tools
