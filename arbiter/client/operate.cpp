#include "arbiter/client/operate.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <optional>
#include <thread>

#include "arbiter/wire/connection.hpp"
#include "arbiter/wire/credentials.hpp"
#include "common/error.hpp"

namespace understudy::arbiter {
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
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
    std::unique_ptr<asio::ssl::context> tls;
    if (const auto directory = url.parameter("tls", ""); !directory.empty()) {
        tls = make_tls({directory, url.parameter("name", "operator")});
    }
    std::optional<Reply> reply;
    std::string trouble = "no answer";
    std::shared_ptr<Connection> connection;
    tcp::socket socket(io);
    tcp::resolver resolver(io);
    const auto talk = [&] {
        tune(socket, timeout);
        connection = std::make_shared<Connection>(std::move(socket), tls.get(), Connection::Side::dialer, kBuffer);
        Connection::Handlers handlers;
        handlers.on_ready = [&] {
            if (tls && !is_server_name(connection->peer_name())) {
                trouble = "the certificate there is not a server's";
                connection->close(trouble);
                return;
            }
            connection->send(Hello{kProtocolVersion, Hello::Kind::client, 0, url.parameter("cluster", "understudy")});
        };
        handlers.on_message = [&](WireMessage message) {
            if (const auto* welcome = std::get_if<Welcome>(&message)) {
                if (!welcome->refusal.empty()) {
                    trouble = welcome->refusal;
                    return false;
                }
                connection->admit();
                connection->send(Request{1, body});
                return true;
            }
            if (auto* answer = std::get_if<Reply>(&message)) {
                reply = std::move(*answer);
            }
            return false;  // that was all
        };
        handlers.on_closed = [&](const std::string& why) {
            if (trouble == "no answer") {
                trouble = why;
            }
            io.stop();
        };
        connection->start(std::move(handlers));
    };
    resolver.async_resolve(server.host, std::to_string(server.port),
                           [&](error_code error, const tcp::resolver::results_type& found) {
                               if (error) {
                                   trouble = error.message();
                                   return;
                               }
                               asio::async_connect(socket, found, [&](error_code failed, const tcp::endpoint&) {
                                   if (failed) {
                                       trouble = failed.message();
                                   } else {
                                       talk();
                                   }
                               });
                           });
    io.run_for(timeout);
    if (connection) {
        connection->close("done");
    }
    error_code ignored;
    socket.close(ignored);
    resolver.cancel();
    io.restart();
    io.poll();  // let what was cancelled end before the locals it refers to do
    if (reply) {
        return std::move(*reply);
    }
    return trouble;
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
