// A server's memory, as honest or as broken as a test wants it.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "tools/verifier/reply.hpp"

namespace understudy::tools::testing {

// What is done wrong, to the Nth write (0: nothing is).
struct Fault {
    enum class Kind { none, lose_write, repeat_write, answer_error, swap_appended, drop_connection };
    Kind kind = Kind::none;
    std::size_t at_write = 0;
    std::string command{};  // only writes of this command count; empty: all do
};

class FakeStore {
  public:
    explicit FakeStore(Fault fault = {}) : fault_(std::move(fault)) {}

    Reply execute(const std::vector<std::string>& words) {
        const std::string& command = words.at(0);
        if (command == "GET") {
            const auto found = values_.find(words.at(1));
            if (found == values_.end()) {
                return {.kind = Reply::Kind::nil};
            }
            return {.kind = Reply::Kind::text, .text = found->second};
        }
        if (!fault_.command.empty() && fault_.command != command) {
            return write(words);
        }
        if (++writes_ != fault_.at_write) {
            return write(words);
        }
        return write_wrongly(words);
    }

    // Whether the fault has just asked for the connection's end; asks once.
    bool take_drop() { return std::exchange(drop_, false); }

  private:
    Reply write(const std::vector<std::string>& words) {
        std::string& value = values_[words.at(1)];
        if (words[0] == "SET") {
            value = words.at(2);
            return {.kind = Reply::Kind::status, .text = "OK"};
        }
        if (words[0] == "APPEND") {
            value += words.at(2);
            return {.kind = Reply::Kind::integer, .integer = static_cast<std::int64_t>(value.size())};
        }
        value = std::to_string((value.empty() ? 0 : std::stoll(value)) + 1);
        return {.kind = Reply::Kind::integer, .integer = std::stoll(value)};
    }

    Reply write_wrongly(const std::vector<std::string>& words) {
        const auto before = values_;
        switch (fault_.kind) {
            case Fault::Kind::lose_write: {
                Reply reply = write(words);
                values_ = before;
                return reply;
            }
            case Fault::Kind::repeat_write:
                write(words);
                return write(words);
            case Fault::Kind::answer_error:
                return {.kind = Reply::Kind::error, .text = "ERR out of luck"};
            case Fault::Kind::swap_appended: {
                Reply reply = write(words);
                std::string& value = values_[words.at(1)];
                const std::string& token = words.at(2);
                value = token + value.substr(0, value.size() - token.size());
                return reply;
            }
            case Fault::Kind::drop_connection:
                drop_ = true;
                return write(words);
            case Fault::Kind::none:
                break;
        }
        return write(words);
    }

    Fault fault_;
    std::map<std::string, std::string> values_;
    std::size_t writes_ = 0;
    bool drop_ = false;
};

[[nodiscard]] inline std::string encode(const Reply& reply) {
    switch (reply.kind) {
        case Reply::Kind::status:
            return "+" + reply.text + "\r\n";
        case Reply::Kind::error:
            return "-" + reply.text + "\r\n";
        case Reply::Kind::integer:
            return ":" + std::to_string(reply.integer) + "\r\n";
        case Reply::Kind::text:
            return "$" + std::to_string(reply.text.size()) + "\r\n" + reply.text + "\r\n";
        case Reply::Kind::nil:
            break;
    }
    return "$-1\r\n";
}

// The words of the first request in `bytes`, which are removed; nothing while it is incomplete. For well-formed
// requests.
inline std::vector<std::string> take_request(std::string& bytes) {
    std::vector<std::string> words;
    std::size_t at = 0;
    const auto line = [&]() -> std::string {
        const auto end = bytes.find("\r\n", at);
        if (end == std::string::npos) {
            return {};
        }
        std::string text = bytes.substr(at, end - at);
        at = end + 2;
        return text;
    };
    const std::string header = line();
    if (header.size() < 2) {
        return {};
    }
    for (int left = std::stoi(header.substr(1)); left > 0; --left) {
        const std::string length = line();
        if (length.size() < 2) {
            return {};
        }
        const auto size = static_cast<std::size_t>(std::stoul(length.substr(1)));
        if (bytes.size() < at + size + 2) {
            return {};
        }
        words.push_back(bytes.substr(at, size));
        at += size + 2;
    }
    bytes.erase(0, at);
    return words;
}

}  // namespace understudy::tools::testing
