#include "arbiter/client/operate.hpp"

#include <boost/asio/io_context.hpp>
#include <optional>
#include <thread>

#include "arbiter/wire/server_link.hpp"
#include "common/error.hpp"

namespace understudy::arbiter {
namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {

constexpr std::size_t kBuffer = std::size_t{1} << 20U;
constexpr milliseconds kPause{50};
constexpr milliseconds kAttempt{1000};

}  // namespace

std::variant<Reply, std::string> ask_server(const ParsedUrl& url, const Address& server, RequestBody body,
                                            milliseconds timeout) {
    asio::io_context io;
    std::optional<Reply> reply;
    std::string trouble = "no answer";
    std::optional<ServerLink> link;
    ServerLink::Handlers handlers;
    handlers.on_welcome = [&](const Welcome& /*welcome*/) { link->send(Request{1, body}); };
    handlers.on_message = [&](WireMessage message) {
        auto* answer = std::get_if<Reply>(&message);
        if (answer == nullptr) {
            return false;
        }
        reply = std::move(*answer);
        io.stop();
        return true;
    };
    handlers.on_closed = [&](const std::string& why) {
        trouble = why;
        io.stop();
    };
    const Hello hello{kProtocolVersion, Hello::Kind::client, 0, url.parameter("cluster", "understudy"), 0, 0};
    link.emplace(io, url.tls, server, ServerLink::Options{hello, 0, timeout, kBuffer}, std::move(handlers));
    io.run_for(timeout);
    link.reset();
    io.restart();
    io.poll();  // let what was under way end before what it refers to does
    if (reply) {
        return std::move(*reply);
    }
    return trouble;
}

std::variant<StatusReply, std::string> server_status(const ParsedUrl& url, const Address& server,
                                                     milliseconds timeout) {
    auto answer = ask_server(url, server, StatusRequest{}, timeout);
    if (auto* trouble = std::get_if<std::string>(&answer)) {
        return std::move(*trouble);
    }
    if (auto* status = std::get_if<StatusReply>(&std::get<Reply>(answer).body)) {
        return std::move(*status);
    }
    return "an unexpected answer";
}

Reply ask_leader(const ParsedUrl& url, const RequestBody& body, milliseconds timeout) {
    const auto deadline = Clock::now() + timeout;
    std::string trouble = "no leader";
    std::size_t next = 0;
    std::optional<Address> redirected;
    while (Clock::now() < deadline) {
        const bool hinted = redirected.has_value();
        const Address target =
            hinted ? *std::exchange(redirected, std::nullopt) : url.servers[next++ % url.servers.size()];
        const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
        auto answer = ask_server(url, target, body, std::min(left, kAttempt));
        if (auto* reply = std::get_if<Reply>(&answer)) {
            const auto* redirect = std::get_if<Redirect>(&reply->body);
            if (redirect == nullptr) {
                return std::move(*reply);
            }
            trouble = "no leader";
            if (redirect->leader != 0 && !hinted) {
                redirected = parse_address(redirect->address);
                continue;
            }
        } else {
            trouble = fmt::format("{}: {}", target.text(), std::get<std::string>(answer));
        }
        std::this_thread::sleep_for(kPause);
    }
    throw Error::format("the arbiter did not answer ({}); see 'understudy arbiter status'", trouble);
}

}  // namespace understudy::arbiter
