// The kinds of link that make_link() chooses from.
#pragma once

#include <memory>
#include <string_view>

#include "hypervisor/network/link.hpp"

namespace understudy::network {

// Works in plain frames, whatever config.format says.
[[nodiscard]] std::unique_ptr<Link> make_gateway_link(boost::asio::io_context& io, std::string_view endpoint,
                                                      const LinkConfig& config, Link::FrameHandler on_frame);
// Works in config.format.
[[nodiscard]] std::unique_ptr<Link> make_tap_link(boost::asio::io_context& io, std::string_view endpoint,
                                                  const LinkConfig& config, Link::FrameHandler on_frame);

}  // namespace understudy::network
