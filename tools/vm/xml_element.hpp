// What is read of an element of libxml2's tree.
#pragma once

#include <libxml/tree.h>

#include <optional>
#include <string>
#include <string_view>

namespace understudy::tools {

[[nodiscard]] std::string string_of(const xmlChar* text);  // null: empty
[[nodiscard]] std::string_view trim(std::string_view text);

[[nodiscard]] std::string name_of(const xmlNode* element);
// The text directly inside the element, without blanks around it.
[[nodiscard]] std::string text_of(const xmlNode* element);
// Nothing: it has no such attribute.
[[nodiscard]] std::optional<std::string> attribute(const xmlNode* element, std::string_view name);

template <typename Visit>
void for_each_child(const xmlNode* element, Visit visit) {
    for (const xmlNode* child = element->children; child != nullptr; child = child->next) {
        if (child->type == XML_ELEMENT_NODE) {
            visit(child);
        }
    }
}

}  // namespace understudy::tools
