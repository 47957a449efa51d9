// What one connection to a server of the Redis protocol knows of its keys, and what an answer of the server says about
// them. Pure: no socket, no clock.
//
// A third of the keys each is written with SET (a new value every time), INCR (the answer tells how often it has been
// executed) and APPEND (the content tells in which order). A key is read before it is written again, so that every
// acknowledged write is looked for, the newest by the read of all keys at the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tools/verifier/judgement.hpp"
#include "tools/verifier/reply.hpp"

namespace understudy::tools {

struct KeyRequest {
    enum class Operation : std::uint8_t { set, increment, append, restart, read };
    Operation operation = Operation::read;
    std::size_t key = 0;
    std::string value{};  // what the key holds when the request has been executed once; of reads, empty
    std::string bytes{};  // the request as the server reads it

    [[nodiscard]] bool is_write() const { return operation != Operation::read; }
};

class KeyModel {
  public:
    // `prefix` is the connection's own: no other connection, and no earlier run, uses it.
    KeyModel(std::string prefix, std::size_t keys);

    // The next request. After a request without an answer: the read that resolves the doubt.
    [[nodiscard]] KeyRequest next();
    // A read of the given key, for a check of all.
    [[nodiscard]] KeyRequest read(std::size_t key) const;
    [[nodiscard]] std::size_t keys() const { return keys_.size(); }

    // Each finding counts once: from here on the key is taken to be as the server says.
    [[nodiscard]] Judgement judge(const KeyRequest& request, const Reply& reply);
    // No answer will come: the write may have happened or not.
    void leave_in_doubt(const KeyRequest& request);

  private:
    using Value = std::optional<std::string>;
    struct Key {
        std::string name;
        KeyRequest::Operation operation = KeyRequest::Operation::set;
        Value value{};                       // what the acknowledged writes left there
        std::optional<std::string> doubt{};  // what it may hold instead
        bool unknown = false;                // after a finding: the next read tells
    };

    [[nodiscard]] KeyRequest write(std::size_t key);
    [[nodiscard]] Judgement judge_read(Key& key, const Reply& reply);
    [[nodiscard]] Judgement judge_number(Key& key, const KeyRequest& request, std::int64_t found);
    [[nodiscard]] bool is_older(const Key& key, const Value& found) const;
    [[nodiscard]] std::uint64_t missing_writes(const Key& key, const Value& found) const;

    std::string prefix_;
    std::vector<Key> keys_;
    std::uint64_t sequence_ = 0;  // of this connection's writes: makes every value unique
    std::uint64_t turn_ = 0;
    std::optional<std::size_t> in_doubt_;
};

}  // namespace understudy::tools
