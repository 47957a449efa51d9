// A connection of the verifying client to a server of the Redis protocol. What it asks and what it makes of the answers
// is its KeyModel's.
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstddef>
#include <string>

#include "tools/verifier/connection.hpp"
#include "tools/verifier/key_model.hpp"

namespace understudy::tools {

class RedisConnection final : public VerifierConnection {
  public:
    RedisConnection(Owner& owner, boost::asio::io_context& io, const Endpoints& endpoints, KeyModel model);

  private:
    void open() override;
    void shut() override;
    void ask() override { send(model_.next()); }
    // The greeting is a read of one key, a check of all.
    void ask_of_series(Series which, std::size_t position) override;
    [[nodiscard]] std::size_t length_of(Series which) const override;
    void leave_in_doubt() override { model_.leave_in_doubt(request_); }

    void send(KeyRequest request);
    void receive();
    bool take_replies();

    KeyModel model_;
    boost::asio::ip::tcp::socket socket_;
    KeyRequest request_;  // sent last
    std::array<char, 4096> buffer_{};
    std::string received_;
};

}  // namespace understudy::tools
