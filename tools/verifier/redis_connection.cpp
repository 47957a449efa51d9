#include "tools/verifier/redis_connection.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/write.hpp>
#include <utility>

#include "tools/verifier/reply.hpp"

namespace understudy::tools {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

}  // namespace

RedisConnection::RedisConnection(Owner& owner, asio::io_context& io, const Endpoints& endpoints, KeyModel model)
    : VerifierConnection(owner, io, endpoints), model_(std::move(model)), socket_(io) {}

void RedisConnection::open() {
    asio::async_connect(socket_, endpoints(), [this, mine = attempt()](error_code error, const tcp::endpoint&) {
        if (mine != attempt()) {
            return;
        }
        if (error) {
            failed(error.message());
            return;
        }
        socket_.set_option(tcp::no_delay(true), error);
        receive();
        opened();
    });
}

void RedisConnection::shut() {
    received_.clear();
    error_code ignored;
    socket_.close(ignored);
}

void RedisConnection::ask_of_series(Series /*which*/, std::size_t position) {
    send(model_.read(position));
}

std::size_t RedisConnection::length_of(Series which) const {
    return which == Series::greeting ? 1 : model_.keys();
}

void RedisConnection::send(KeyRequest request) {
    request_ = std::move(request);
    asio::async_write(socket_, asio::buffer(request_.bytes), [](error_code /*error*/, std::size_t /*size*/) {
        // A connection that cannot be written to ends, and the reader hears of it.
    });
}

void RedisConnection::receive() {
    socket_.async_read_some(asio::buffer(buffer_), [this, mine = attempt()](error_code error, std::size_t size) {
        if (mine != attempt()) {
            return;
        }
        if (error) {
            dropped(error == asio::error::eof ? "the server closed the connection" : error.message());
            return;
        }
        received_.append(buffer_.data(), size);
        if (take_replies()) {
            receive();
        }
    });
}

// False when the connection is no more.
bool RedisConnection::take_replies() {
    while (!received_.empty()) {
        auto decoded = decode_reply(received_);
        if (decoded.status == DecodedReply::Status::need_more) {
            return true;
        }
        if (decoded.status == DecodedReply::Status::malformed || !outstanding()) {
            contradicted(outstanding() ? "bytes that are no answer" : "an answer to no request");
            dropped("the stream of answers is broken");
            return false;
        }
        received_.erase(0, decoded.size);
        const auto mine = attempt();
        answered(model_.judge(request_, decoded.reply));
        if (mine != attempt()) {
            return false;
        }
    }
    return true;
}

}  // namespace understudy::tools
