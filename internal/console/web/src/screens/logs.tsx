import { Empty, Page } from "../ui/basic";

export default function Screen() {
  return (
    <Page title="logs">
      <Empty title="not built yet" />
    </Page>
  );
}
