#include "tools/verifier/connection.hpp"

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/write.hpp>
#include <utility>

#include "tools/verifier/reply.hpp"

namespace understudy::tools {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::chrono::milliseconds kLongestRetry{200};

}  // namespace

VerifierConnection::VerifierConnection(Owner& owner, asio::io_context& io, const Endpoints& endpoints, KeyModel model)
    : owner_(owner), endpoints_(endpoints), model_(std::move(model)), socket_(io), retry_timer_(io) {}

void VerifierConnection::connect() {
    const auto attempt = ++attempt_;
    asio::async_connect(socket_, endpoints_, [this, attempt](error_code error, const tcp::endpoint& /*where*/) {
        if (attempt != attempt_) {
            return;
        }
        if (error) {
            owner_.on_refusal(error.message());
            retry();
            return;
        }
        connected_ = true;
        socket_.set_option(tcp::no_delay(true), error);
        receive();
        owner_.on_idle(*this);
    });
}

void VerifierConnection::close() {
    ++attempt_;
    connected_ = false;
    waiting_since_.reset();
    outstanding_.reset();
    error_code ignored;
    socket_.close(ignored);
    retry_timer_.cancel();
}

void VerifierConnection::begin_reads(Reads which) {
    position_ = 0;
    end_ = which == Reads::one_key ? 1 : model_.keys();
    has_read_ = false;
}

bool VerifierConnection::read_next_key() {
    if (position_ == end_) {
        has_read_ = true;
        return false;
    }
    send(model_.read(position_++));
    return true;
}

void VerifierConnection::send(KeyRequest request) {
    const auto now = Clock::now();
    outstanding_.emplace(Outstanding{.request = std::move(request), .sent_at = now});
    waiting_since_ = waiting_since_.value_or(now);
    asio::async_write(socket_, asio::buffer(outstanding_->request.bytes),
                      [](error_code /*error*/, std::size_t /*size*/) {
                          // A connection that cannot be written to ends, and the reader hears of it.
                      });
}

void VerifierConnection::receive() {
    socket_.async_read_some(asio::buffer(buffer_), [this, attempt = attempt_](error_code error, std::size_t size) {
        if (attempt != attempt_) {
            return;
        }
        if (error) {
            drop(error == asio::error::eof ? "the server closed the connection" : error.message());
            return;
        }
        received_.append(buffer_.data(), size);
        if (take_replies()) {
            receive();
        }
    });
}

// False when the connection is no more.
bool VerifierConnection::take_replies() {
    while (!received_.empty()) {
        auto decoded = decode_reply(received_);
        if (decoded.status == DecodedReply::Status::need_more) {
            return true;
        }
        if (decoded.status == DecodedReply::Status::malformed || !outstanding_) {
            owner_.on_contradiction(outstanding_ ? "bytes that are no answer" : "an answer to no request");
            drop("the stream of answers is broken");
            return false;
        }
        received_.erase(0, decoded.size);
        const auto attempt = attempt_;
        answered(decoded.reply);
        if (attempt != attempt_) {
            return false;
        }
    }
    return true;
}

void VerifierConnection::answered(const Reply& reply) {
    const auto now = Clock::now();
    const auto done = std::move(*outstanding_);
    outstanding_.reset();
    retry_after_ = kFirstRetry;
    owner_.on_answer(model_.judge(done.request, reply), done.sent_at, *waiting_since_, now);
    waiting_since_.reset();
    owner_.on_idle(*this);
}

void VerifierConnection::drop(const std::string& why) {
    ++attempt_;
    if (outstanding_) {
        model_.leave_in_doubt(outstanding_->request);
        outstanding_.reset();
    }
    position_ -= position_ > 0 ? 1 : 0;  // that answer will not come
    waiting_since_ = waiting_since_.value_or(Clock::now());
    owner_.on_drop(why);
    retry();
}

void VerifierConnection::retry() {
    connected_ = false;
    received_.clear();
    error_code ignored;
    socket_.close(ignored);
    retry_timer_.expires_after(std::exchange(retry_after_, std::min<Clock::duration>(retry_after_ * 2, kLongestRetry)));
    retry_timer_.async_wait([this, attempt = attempt_](error_code error) {
        if (!error && attempt == attempt_) {
            connect();
        }
    });
}

}  // namespace understudy::tools
