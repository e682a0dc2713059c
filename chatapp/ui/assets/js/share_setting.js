// Who can open the links that people make to copies of conversations: "off" (no links), "users" or "anyone".
export const shareSetting = { who: "off" };
