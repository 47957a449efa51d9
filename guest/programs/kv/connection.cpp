#include "guest/programs/kv/connection.hpp"

#include "guest/programs/kv/allocation.hpp"
#include "guest/programs/kv/server.hpp"

namespace understudy::kv {

using programs::IoStatus;
using programs::Readiness;

Connection::Connection(Server& server, programs::FileDescriptor socket, std::uint64_t id)
    : server_(server), socket_(std::move(socket)), parser_(server.limits_) {
    session_.id = id;
    server_.loop_.add(socket_.get(), interest_, *this);
}

Connection::~Connection() {
    if (!closed_) {
        server_.loop_.remove(socket_.get());
    }
}

void Connection::ready(Readiness readiness) {
    if (readiness.writable && !flush()) {
        return;
    }
    if (!input_.empty() && accepts_requests()) {
        process({});  // what had to wait for the client to read
    }
    if (readiness.readable && !input_ended_ && accepts_requests()) {
        read();
    }
    if (!closed_) {
        settle();
    }
}

void Connection::read() {
    const auto result = programs::read_some(socket_, server_.scratch_);
    switch (result.status) {
        case IoStatus::kDone:
            process({server_.scratch_.data(), result.bytes});
            break;
        case IoStatus::kWouldBlock:
            break;
        case IoStatus::kEnded:
            input_ended_ = true;  // the client may still read what it asked for
            break;
        case IoStatus::kFailed:
            close();
            break;
    }
}

void Connection::process(std::string_view bytes) {
    if (input_.empty()) {
        const std::size_t done = run_requests(bytes);
        input_.assign(bytes.substr(done));
    } else {
        input_.append(bytes);
        input_.erase(0, run_requests(input_));
    }
    if (input_.empty() && input_.capacity() > server_.scratch_.size()) {
        input_.shrink_to_fit();  // one big value must not hold memory for as long as its client stays
    }
    if (input_.size() > server_.scratch_.size() && allocated_bytes() > server_.settings_.max_memory) {
        Reply(output_).error("OOM request too big when used memory > 'maxmemory'");
        session_.quit = true;
    }
}

std::size_t Connection::run_requests(std::string_view bytes) {
    std::size_t done = 0;
    while (done < bytes.size() && accepts_requests()) {
        switch (parser_.parse(bytes.substr(done))) {
            case RequestParser::Status::kIncomplete:
                return done;
            case RequestParser::Status::kError:
                Reply(output_).error(parser_.error());
                session_.quit = true;
                return bytes.size();
            case RequestParser::Status::kRequest:
                if (!parser_.arguments().empty()) {
                    run_request(parser_.arguments());
                }
                done += parser_.length();
                parser_.next();
        }
    }
    return session_.quit ? bytes.size() : done;
}

void Connection::run_request(std::span<const std::string_view> arguments) {
    Reply reply(output_);
    Call call{arguments,           server_.store_,    reply,          session_,
              server_.statistics_, server_.settings_, server_.table_, server_.shutdown_};
    server_.table_.run(call);
    ++server_.statistics_.total_commands;
}

bool Connection::flush() {
    while (sent_ < output_.size()) {
        const auto result = programs::write_some(socket_, std::string_view(output_).substr(sent_));
        if (result.status == IoStatus::kFailed) {
            close();
            return false;
        }
        if (result.status != IoStatus::kDone) {
            break;
        }
        sent_ += result.bytes;
    }
    if (sent_ == output_.size()) {
        output_.clear();
        sent_ = 0;
        if (output_.capacity() > kEnoughOutput) {
            output_.shrink_to_fit();
        }
    } else if (sent_ >= kEnoughOutput) {
        output_.erase(0, sent_);
        sent_ = 0;
    }
    return true;
}

// Sends what can be sent, and sees what to wait for.
void Connection::settle() {
    if (output_.size() - sent_ > kMaxOutput) {
        close();
        return;
    }
    if (!flush()) {
        return;
    }
    // Requests that waited for congestion to end have it ended by this flush: without them input would never be
    // looked at again, as no new bytes need come.
    while (!input_.empty() && accepts_requests()) {
        const std::size_t before = input_.size();
        process({});
        if (!flush()) {
            return;
        }
        if (input_.size() == before) {
            break;  // an incomplete request
        }
    }
    const bool has_output = sent_ < output_.size();
    if (!has_output && (session_.quit || input_ended_)) {
        close();
        return;
    }
    const Readiness interest{.readable = !input_ended_ && accepts_requests(), .writable = has_output};
    if (!(interest == interest_)) {
        interest_ = interest;
        server_.loop_.change(socket_.get(), interest_);
    }
}

void Connection::close() {
    closed_ = true;
    server_.close(*this);
}

}  // namespace understudy::kv
