// Writes replies of the Redis protocol (RESP2) behind one another.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace understudy::kv {

class Reply {
  public:
    explicit Reply(std::string& out) : out_(out), start_(out.size()) {}

    void status(std::string_view text) { line('+', text); }
    void ok() { status("OK"); }
    void error(std::string_view text) { line('-', text); }
    void integer(std::int64_t value) { number(':', value); }
    void bulk(std::string_view bytes) {
        number('$', static_cast<std::int64_t>(bytes.size()));
        out_.append(bytes).append("\r\n");
    }
    void null() { out_.append("$-1\r\n"); }
    void null_array() { out_.append("*-1\r\n"); }
    // The next `length` replies are its elements.
    void array(std::size_t length) { number('*', static_cast<std::int64_t>(length)); }

    // Takes back what has been written, in favour of an error.
    void discard() { out_.resize(start_); }

  private:
    void line(char type, std::string_view text) {
        out_ += type;
        for (const char c : text) {
            out_ += c == '\r' || c == '\n' ? ' ' : c;  // the text may quote a client's bytes
        }
        out_.append("\r\n");
    }
    void number(char type, std::int64_t value) {
        char digits[24];
        const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
        out_ += type;
        out_.append(digits, static_cast<std::size_t>(end - digits)).append("\r\n");
    }

    std::string& out_;
    std::size_t start_;
};

}  // namespace understudy::kv
