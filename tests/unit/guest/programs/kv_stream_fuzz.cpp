// Any bytes as a client's stream to kv, without the sockets: requests are found and answered alike however the stream
// is cut, each by one well-formed reply.
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "guest/programs/kv/command.hpp"
#include "guest/programs/kv/request_parser.hpp"

namespace {

using namespace understudy::kv;

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

// Takes one reply from the front; arrays with what they contain.
void take_reply(std::string_view& replies) {
    std::size_t expected = 1;
    while (expected > 0) {
        --expected;
        const std::size_t end = replies.find("\r\n");
        require(end != std::string_view::npos && end > 0);
        const char type = replies.front();
        const std::string_view rest = replies.substr(1, end - 1);
        std::int64_t number = 0;
        if (type == '$' || type == '*' || type == ':') {
            require(std::from_chars(rest.data(), rest.data() + rest.size(), number).ptr == rest.data() + rest.size());
        } else {
            require(type == '+' || type == '-');
        }
        replies.remove_prefix(end + 2);
        if (type == '$' && number >= 0) {
            const auto length = static_cast<std::size_t>(number);
            require(replies.size() >= length + 2 && replies.substr(length, 2) == "\r\n");
            replies.remove_prefix(length + 2);
        } else if (type == '*' && number > 0) {
            expected += static_cast<std::size_t>(number);
        }
    }
}

// All replies to the stream, given to the server in pieces of `piece` bytes.
std::string serve(std::string_view stream, std::size_t piece) {
    static const CommandTable table;
    Store store;
    store.advance(std::chrono::seconds(1000));
    Settings settings;
    settings.max_value = 4096;
    Statistics statistics;
    Session session;
    bool shutdown = false;
    RequestLimits limits;
    limits.argument_length = settings.max_value;
    limits.request_length = 2 * settings.max_value;
    RequestParser parser(limits);
    std::string waiting;
    std::string output;
    while (!stream.empty() && !session.quit) {
        waiting += stream.substr(0, piece);
        stream.remove_prefix(std::min(piece, stream.size()));
        while (!session.quit) {
            const auto status = parser.parse(waiting);
            if (status == RequestParser::Status::kIncomplete) {
                break;
            }
            if (status == RequestParser::Status::kError) {
                Reply(output).error(parser.error());
                session.quit = true;
                break;
            }
            const std::size_t before = output.size();
            // What tells of memory or of the wall clock differs from run to run by right.
            const auto name = parser.arguments().empty() ? std::string() : upper_case(parser.arguments()[0]);
            if (!name.empty() && name != "INFO" && name != "TIME") {
                Reply reply(output);
                Call call{parser.arguments(), store, reply, session, statistics, settings, table, shutdown};
                table.run(call);
                std::string_view written = std::string_view(output).substr(before);
                take_reply(written);
                require(written.empty());
            }
            require(parser.length() > 0 && parser.length() <= waiting.size());
            waiting.erase(0, parser.length());
            parser.next();
        }
    }
    return output;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) {
        return 0;
    }
    const std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
    require(serve(stream, 1U + data[0]) == serve(stream, size));
    return 0;
}
