// A client of a server that is not there, ends, is silent, or talks nonsense.
#include "tools/bench/redis_link.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <string>
#include <thread>

#include "tests/unit/tools/error_of.hpp"
#include "tools/process/free_ports.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;
using testing::error_of;
using ::testing::HasSubstr;

// Says one thing to the first who connects, and then ends the connection, or waits until the other side does.
class Server {
  public:
    Server(std::string says, bool stays)
        : thread_([this, says = std::move(says), stays] {
              tcp::socket client = acceptor_.accept();
              boost::system::error_code error;
              boost::asio::write(client, boost::asio::buffer(says), error);
              std::array<char, 64> bytes{};
              while (stays && !error) {
                  client.read_some(boost::asio::buffer(bytes), error);
              }
          }) {}
    ~Server() { thread_.join(); }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    [[nodiscard]] Address address() const { return {"127.0.0.1", acceptor_.local_endpoint().port()}; }

  private:
    boost::asio::io_context io_;
    tcp::acceptor acceptor_{io_, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0)};
    std::thread thread_;
};

TEST(RedisLink, HasAnswersInTheirOrder) {
    Server server("+OK\r\n:1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n", true);
    RedisLink link(server.address(), 10s);
    EXPECT_EQ(link.receive().text, "OK");
    EXPECT_EQ(link.receive().integer, 1);
    EXPECT_EQ(link.receive_list().size(), 2U);
}

TEST(RedisLink, SaysThatNobodyListens) {
    const Address nobody{"127.0.0.1", free_port()};
    EXPECT_THAT(error_of([&] { const RedisLink link(nobody, 10s); }), HasSubstr("refused"));
    EXPECT_THAT(error_of([] { const RedisLink link({"localhost", 1}, 10s); }), HasSubstr("no numeric address"));
}

TEST(RedisLink, SaysThatTheServerEndsOrIsSilentOrIsNone) {
    const auto trouble = [](const char* says, bool stays, std::chrono::milliseconds patience) {
        Server server(says, stays);
        return error_of([&] {
            RedisLink link(server.address(), patience);
            static_cast<void>(link.receive());
        });
    };
    EXPECT_THAT(trouble("+O", false, 10s), HasSubstr("closed the connection"));
    EXPECT_THAT(trouble("+O", true, 50ms), HasSubstr("waited 50 ms for an answer"));
    EXPECT_THAT(trouble("HTTP/1.1 400 Bad Request\r\n\r\n", true, 10s), HasSubstr("no answer"));
}

TEST(RedisLink, StopsWaiting) {
    Server server("", true);
    std::atomic<bool> stopped = true;
    EXPECT_EQ(error_of([&] {
                  RedisLink link(server.address(), 1h, &stopped);
                  static_cast<void>(link.receive());
              }),
              "stopped");
}

}  // namespace
}  // namespace understudy::tools
