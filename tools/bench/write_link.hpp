// How a client of a WriteLoad speaks with a server, of whatever protocol.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tools/bench/refused.hpp"
#include "tools/verifier/reply.hpp"

namespace understudy::tools {

// One connection to who takes writes. Its methods throw Refused when the server answered with an error, and
// understudy::Error when it ended the connection or was silent for too long. For one thread.
class WriteLink {
  public:
    WriteLink() = default;
    virtual ~WriteLink() = default;
    WriteLink(const WriteLink&) = delete;
    WriteLink& operator=(const WriteLink&) = delete;

    // From now on `key` holds the number. False: it does, on fewer servers than it is to be.
    [[nodiscard]] virtual bool write(const std::string& key, std::uint64_t number) = 0;
    // What keys hold, in their order: texts, or nil.
    [[nodiscard]] virtual std::vector<Reply> read(const std::vector<std::string>& keys) = 0;
};

struct WriteTarget {
    // Looks for the server once, as client libraries do. `attempt`: a count, which says with whom to begin. Once
    // `stopped` is true, whatever waits ends with an error; it outlives the link. Throws understudy::Error: there is
    // none yet. From any thread.
    using Find = std::function<std::unique_ptr<WriteLink>(std::size_t attempt, const std::atomic<bool>& stopped)>;
    Find find{};
    std::chrono::milliseconds retry{20};  // before the server is looked for again
};

}  // namespace understudy::tools
